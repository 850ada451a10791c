package words

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// TestRemoval: all leftover files go with one command, by how they begin where that names them and no others.
func TestRemoval(t *testing.T) {
	many, odd := guard.Holder{Prefix: "/h/rtemap_"}, guard.Holder{Prefix: "/h/a b_"}
	contained := guard.Holder{Prefix: "/proc/7/root/h/rtemap_", Within: 7, Unit: "container 0123456789ab", Engine: "docker"}
	for i := range maxNames + 1 {
		for _, h := range []*guard.Holder{&many, &odd, &contained} {
			h.Files = append(h.Files, fmt.Sprint(h.Prefix, i))
		}
	}
	few := guard.Holder{Files: []string{"/h/rtemap_0", "/h/rtemap_1"}, Prefix: "/h/rtemap_"}
	some := guard.Holder{Files: []string{"/h/x_0", "/h/x_1"}}
	elsewhere := guard.Holder{Files: []string{"/proc/7/root/h/rtemap_0"}, Within: 7}
	segment := guard.Holder{Segment: "5"}
	var mass guard.Holder
	for i := range 40000 {
		mass.Files = append(mass.Files, fmt.Sprintf("/h/map_%d", i))
	}
	for _, test := range []struct {
		name string
		fix  fix.DeleteFiles
		want []string
	}{
		{"by how they begin", fix.DeleteFiles{Holders: []guard.Holder{many}, Certain: true}, []string{"rm /h/rtemap_*"}},
		{"a name with a blank", fix.DeleteFiles{Holders: []guard.Holder{odd}, Certain: true}, []string{"rm '/h/a b_'*"}},
		{"each by its name", fix.DeleteFiles{Holders: []guard.Holder{some}, Certain: true}, []string{"rm /h/x_0 /h/x_1"}},
		{"all of them", fix.DeleteFiles{Holders: []guard.Holder{segment, many, some}, Certain: true}, []string{"rm /h/rtemap_* /h/x_0 /h/x_1", "ipcrm -m 5"}},
		{"a segment", fix.DeleteFiles{Holders: []guard.Holder{segment}, Certain: true}, []string{"ipcrm -m 5"}},
		{"in a container", fix.DeleteFiles{Holders: []guard.Holder{contained}, Certain: true}, []string{"docker exec 0123456789ab sh -c 'rm /h/rtemap_*'"}},
		{"in another mount namespace", fix.DeleteFiles{Holders: []guard.Holder{elsewhere, some}, Certain: true}, []string{"rm /h/x_0 /h/x_1"}},
		{"few", fix.DeleteFiles{Holders: []guard.Holder{few}, Certain: true}, []string{"rm /h/rtemap_0 /h/rtemap_1"}},
		{"perhaps in use", fix.DeleteFiles{Holders: []guard.Holder{many, some}}, []string{"fuser -v /h/rtemap_* /h/x_0 /h/x_1"}},
	} {
		if got := removal(test.fix); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	f := deleteFiles(fix.DeleteFiles{Holders: []guard.Holder{mass}, Certain: true})
	if len(f.Commands) != 2 || len(f.Commands[0]) > maxRemoval+20 || !strings.HasSuffix(f.Commands[1], " more files") || len(f.short) > maxShort {
		t.Errorf("%d commands, %d bytes, %.100q, %q", len(f.Commands), len(f.Commands[0]), f.Commands, f.short)
	}
}

// TestDeletionWords: a program of another mount namespace is not run; what is deleted is named, with its price.
func TestDeletionWords(t *testing.T) {
	file := guard.Holder{Files: []string{"/h/x_0"}}
	elsewhere := guard.Holder{Files: []string{"/proc/7/root/h/rtemap_0"}, Within: 7, Unit: "lxc.service"}
	for _, test := range []struct {
		name        string
		holders     []guard.Holder
		what, lines string
	}{
		{"a file", []guard.Holder{file}, "delete the files: no process has them open or maps them", ""},
		{"elsewhere", []guard.Holder{elsewhere}, "delete the files: no process has them open or maps them", "in the mount namespace of pid 7, lxc.service, by who manages it: /h/rtemap_0"},
		{"a segment", []guard.Holder{{Segment: "5"}}, "remove the System V segment: no process has attached it", ""},
		{"one that may be of other pages", []guard.Holder{{Segment: "5", Unsure: true}},
			"remove the System V segment: no process has attached it. If it is of huge pages: the kernel does not say (ipcs -m -i 5 shows whose it is)", ""},
		{"both", []guard.Holder{file, {Segment: "5"}}, "delete the files: no process has them open or maps them. And remove the System V segment, which no process has attached", ""},
	} {
		f := deleteFiles(fix.DeleteFiles{Holders: test.holders, Certain: true})
		if f.What != test.what || strings.Join(f.Lines, "\n") != test.lines || f.Cost != "what is in them is lost: no program that runs uses it" || f.short == "" {
			t.Errorf("%s: %+v", test.name, f)
		}
		for _, command := range f.Commands {
			if strings.Contains(command, "nsenter") || strings.Contains(command, "/proc/") {
				t.Errorf("%s: %s", test.name, command)
			}
		}
	}
}

// TestGrowthBeforeDeletion: files that a fix for a pool deletes are named also where only others can delete them.
func TestGrowthBeforeDeletion(t *testing.T) {
	elsewhere := guard.Holder{Files: []string{"/proc/7/root/h/rtemap_0"}, Within: 7, Unit: "lxc.service"}
	grown := fix.GrowPools{Pools: []fix.PoolSize{{PageKiB: 2048, Pages: 64, Now: 100, Surplus: 100}}, Files: &fix.DeleteFiles{Holders: []guard.Holder{elsewhere}, Certain: true}}
	f := growPools(grown)
	if got, want := strings.Join(f.Lines, "\n"), "then delete:\nin the mount namespace of pid 7, lxc.service, by who manages it: /h/rtemap_0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if last := f.Commands[len(f.Commands)-1]; !strings.HasPrefix(last, "cat ") || !strings.Contains(f.What, "must print 64 or more") {
		t.Errorf("%s: %s", f.What, last)
	}
}
