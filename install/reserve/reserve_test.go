package reserve

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/nova"
)

const (
	one  = "reserved_huge_pages=node:0,size:2048,count:1"
	want = "reserved_huge_pages=node:0,size:2048,count:512\nreserved_huge_pages=node:1,size:2048,count:512\n"
)

var wanted = []guard.Reservation{{Pool: nova.Pool{Node: 0, PageKiB: 2048}, Count: 512}, {Pool: nova.Pool{Node: 1, PageKiB: 2048}, Count: 512}}

// debian are the sources of a nova-compute that Debian's package starts, rdo those of one without arguments.
var (
	debian = nova.Sources([]string{"--config-file=/etc/nova/nova.conf", "--config-file=/etc/nova/nova-compute.conf"})
	rdo    = nova.Sources(nil)
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o750), os.WriteFile(name, []byte(text), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
}

func texts(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, root)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWrite: what is written wins, is not written twice, and can be taken away again.
func TestWrite(t *testing.T) {
	const dropIn = "/etc/nova/nova.conf.d/" + DropIn
	for _, test := range []struct {
		name    string
		sources []nova.Source
		files   map[string]string
		changed string
	}{
		{"nothing yet", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\npassword=x\n", "/etc/nova/nova-compute.conf": ""}, dropIn},
		{"a file that comes later", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + one + "\npassword=x\n", "/etc/nova/nova-compute.conf": ""}, "/etc/nova/nova.conf"},
		{"the last of two", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + one + "\n", "/etc/nova/nova-compute.conf": "[libvirt]\na=b\n[DEFAULT]\n" + one}, "/etc/nova/nova-compute.conf"},
		{"directories come last", rdo, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + one + "\n", "/etc/nova/nova.conf.d/a.conf": "[DEFAULT]\n" + one + "\n"}, dropIn},
		{"after all others there", rdo, map[string]string{"/etc/nova/nova.conf": "", "/etc/nova/nova-compute.conf.d/zzz.conf": "[DEFAULT]\n" + one + "\n"}, "/etc/nova/nova-compute.conf.d/zzz.conf"},
		{"in the other directory", rdo, map[string]string{"/etc/nova/nova.conf": "", "/etc/nova/nova-compute.conf.d/a.conf": "[DEFAULT]\n" + one + "\n"}, "/etc/nova/nova-compute.conf.d/" + DropIn},
		{"on several lines", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\nreserved_huge_pages = node:0,\n  size:2MB\n ,count:1\n# hunter\nx=y\n"}, "/etc/nova/nova.conf"},
		{"one file", []nova.Source{{Path: []string{"/srv/nova.conf"}}}, map[string]string{"/srv/nova.conf": "[DEFAULT]\nx=y\n[libvirt]\nz=1"}, "/srv/nova.conf"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, test.files)
			before := texts(t, root)
			c, err := Plan(root, test.sources, false, wanted)
			if err != nil || c == nil || c.File != test.changed {
				t.Fatalf("%+v, %v, want a change of %s", c, err, test.changed)
			}
			if !reflect.DeepEqual(texts(t, root), before) {
				t.Error("a plan changes something")
			}
			if diff := strings.Join(c.Diff(), "\n"); !strings.Contains(diff, "+reserved_huge_pages=node:1,size:2048,count:512") || strings.Contains(diff, "password") {
				t.Errorf("%s", diff)
			}
			if err := c.Do(); err != nil {
				t.Fatal(err)
			}
			if text := texts(t, root)[test.changed]; !strings.Contains(text, "[DEFAULT]\n"+want) {
				t.Errorf("%s", text)
			}
			if again, err := Plan(root, test.sources, false, wanted); again != nil || err != nil {
				t.Errorf("and again %+v, %v", again, err)
			}
			if backup := c.Backup(); backup != "" && texts(t, root)[strings.TrimPrefix(backup, root)] != before[test.changed] {
				t.Errorf("%s is not as the file was", backup)
			}
			removals, err := PlanRemoval(root, test.sources)
			if err != nil || len(removals) != 1 {
				t.Fatalf("%+v, %v", removals, err)
			}
			if err := removals[0].Do(); err != nil {
				t.Fatal(err)
			}
			after := texts(t, root)
			delete(after, test.changed+".before-hugeguard")
			for name := range before {
				before[name], after[name] = strings.TrimSuffix(before[name], "\n"), strings.TrimSuffix(after[name], "\n")
			}
			if !reflect.DeepEqual(after, before) {
				t.Errorf("%q is left, before %q", after, before)
			}
		})
	}
}

// TestReservesNothing: a line that reserves no page asks for no change, and is in nobody's way.
func TestReservesNothing(t *testing.T) {
	root, zero := t.TempDir(), "[DEFAULT]\nreserved_huge_pages=node:2,size:2048,count:0\n"
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n" + want + zero, "/etc/nova/nova-compute.conf": zero})
	if c, err := Plan(root, debian, false, wanted); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
	write(t, root, map[string]string{"/etc/nova/nova.conf": zero})
	if c, err := Plan(root, debian, false, wanted); c == nil || err != nil {
		t.Errorf("%+v, %v where pages lack", c, err)
	}
}

// TestOwnerAndMode: a file keeps its own, and a new one has those of the one beside it.
func TestOwnerAndMode(t *testing.T) {
	if os.Getuid() != 0 {
		return // nobody else can give files away
	}
	for _, sources := range [][]nova.Source{debian, {{Path: []string{"/etc/nova/nova.conf"}}}} {
		root := t.TempDir()
		write(t, root, map[string]string{"/etc/nova/real": "[DEFAULT]\n"})
		conf := filepath.Join(root, "etc/nova/nova.conf")
		real := filepath.Join(root, "etc/nova/real")
		if err := errors.Join(os.Symlink("real", conf), os.Chown(real, 7, 8), os.Chmod(real, 0o640), os.Chown(filepath.Dir(real), 9, 10)); err != nil {
			t.Fatal(err)
		}
		c, err := Plan(root, sources, false, wanted)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(root, c.File))
		if err != nil {
			t.Fatal(err)
		}
		if c.File == "/etc/nova/nova.conf" {
			if info.Mode()&fs.ModeSymlink == 0 {
				t.Error("the link is gone")
			}
			info, _ = os.Stat(real)
		}
		stat := info.Sys().(*syscall.Stat_t)
		if stat.Uid != 7 || stat.Gid != 8 || info.Mode().Perm() != 0o640 {
			t.Errorf("%s has %d:%d %v", c.File, stat.Uid, stat.Gid, info.Mode())
		}
		if c.File != "/etc/nova/nova.conf" {
			dir, _ := os.Stat(filepath.Dir(filepath.Join(root, c.File)))
			if stat := dir.Sys().(*syscall.Stat_t); stat.Uid != 9 || stat.Gid != 10 || dir.Mode().Perm() != 0o750 {
				t.Errorf("its directory has %d:%d %v", stat.Uid, stat.Gid, dir.Mode())
			}
		}
	}
}

// TestOwned: what a tool writes is left alone.
func TestOwned(t *testing.T) {
	kolla := []nova.Source{{Path: []string{"/etc/kolla/nova-compute/nova.conf"}}}
	for _, test := range []struct {
		tool      string
		sources   []nova.Source
		files     map[string]string
		contained bool
	}{
		{"kolla-ansible", kolla, map[string]string{"/etc/kolla/nova-compute/nova.conf": "[DEFAULT]\n"}, false},
		{"RHOSO", nova.Deployments()[0].Sources, map[string]string{"/var/lib/openstack/config/nova/01-nova.conf": "[DEFAULT]\n"}, false},
		{"TripleO", nova.Deployments()[1].Sources, map[string]string{"/var/lib/config-data/puppet-generated/nova_libvirt/etc/nova/nova.conf": "[DEFAULT]\n"}, false},
		{"openstack-ansible", debian, map[string]string{"/etc/nova/nova.conf": "# Ansible managed\n[DEFAULT]\n", "/openstack/venvs/x": ""}, false},
		{"another tool", debian, map[string]string{"/etc/nova/nova.conf": "# This file is managed by Puppet\n[DEFAULT]\n"}, false},
		{"what starts the container of nova-compute", debian, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n"}, true},
	} {
		root := t.TempDir()
		write(t, root, test.files)
		before := texts(t, root)
		c, err := Plan(root, test.sources, test.contained, wanted)
		var owned Owned
		if !errors.As(err, &owned) || owned.Tool != test.tool {
			t.Errorf("%s: %+v, %v", test.tool, c, err)
		}
		if !reflect.DeepEqual(texts(t, root), before) {
			t.Errorf("%s: something was written", test.tool)
		}
	}
}

// TestCannotWrite: a file that others put in the place of the drop-in stays, as does all where nothing can be written.
func TestCannotWrite(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{"/etc/nova/nova.conf": "[DEFAULT]\n", "/etc/nova/nova.conf.d/a": ""})
	if err := os.Symlink("a", filepath.Join(root, "/etc/nova/nova.conf.d", DropIn)); err != nil {
		t.Fatal(err)
	}
	if c, err := Plan(root, debian, false, wanted); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Plan(t.TempDir(), debian, false, wanted); err == nil {
		t.Errorf("%+v without any configuration", c)
	}
}

func FuzzInPlace(f *testing.F) {
	f.Add("[DEFAULT]\n" + one + "\nx=y\n")
	f.Add("[DEFAULT]\nreserved_huge_pages = node:0\n ,size:2MB\n\t,count:1\n\n[a]\nb=c")
	f.Add(begin + "\n" + one)
	f.Fuzz(func(t *testing.T, text string) {
		if restored(text) != text || new(nova.Config).Add("", text) != nil {
			return // it was written before, or nobody can read it
		}
		changed := inPlace(text, strings.Split(strings.TrimSpace(want), "\n"))
		if again := inPlace(changed, strings.Split(strings.TrimSpace(want), "\n")); again != changed {
			t.Errorf("%q becomes %q, and then %q", text, changed, again)
		}
		if back := restored(changed); strings.TrimSuffix(back, "\n") != strings.TrimSuffix(text, "\n") {
			t.Errorf("%q becomes %q, and back %q", text, changed, back)
		}
	})
}

// TestRoot: below another root nothing is read or written outside of it, wherever links lead.
func TestRoot(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	write(t, outside, map[string]string{"nova.conf": "[DEFAULT]\n"})
	write(t, root, map[string]string{outside + "/nova.conf": "[DEFAULT]\ncpu_allocation_ratio=1\n"})
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "etc/nova")); err != nil {
		t.Fatal(err)
	}
	change, err := Plan(root, rdo, false, wanted)
	if err != nil {
		t.Fatal(err)
	}
	if err := change.Do(); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, outside); len(got) != 1 || got["/nova.conf"] != "[DEFAULT]\n" {
		t.Errorf("outside there is %v", got)
	}
	if inside := texts(t, root+outside); !strings.Contains(inside["/nova.conf.d/"+DropIn]+inside["/nova.conf"], want) {
		t.Errorf("inside there is %v", inside)
	}
}
