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
	many := guard.Holder{Files: []string{"/h/rtemap_0", "/h/rtemap_1"}, Prefix: "/h/rtemap_"}
	odd := guard.Holder{Files: []string{"/h/a b_0", "/h/a b_1"}, Prefix: "/h/a b_"}
	some := guard.Holder{Files: []string{"/h/x_0", "/h/x_1"}}
	contained := guard.Holder{Files: []string{"/proc/7/root/h/rtemap_0", "/proc/7/root/h/rtemap_1"}, Prefix: "/proc/7/root/h/rtemap_", Within: 7,
		Unit: "container 0123456789ab", Engine: "docker"}
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
		{"in another mount namespace", fix.DeleteFiles{Holders: []guard.Holder{elsewhere, some}, Certain: true}, []string{"rm /h/x_0 /h/x_1", "nsenter -t 7 -m sh -c 'rm /h/rtemap_0'"}},
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
