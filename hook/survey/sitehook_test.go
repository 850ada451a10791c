package survey

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// TestIdleHooks: a script that libvirt skips is told, and whether it has to do with huge pages; a script that runs others
// has to do with what these have.
func TestIdleHooks(t *testing.T) {
	const makes, runs = "#!/bin/sh\necho 8 > /proc/sys/vm/nr_hugepages\n", "#!/bin/sh\nfor f in /etc/libvirt/hooks/qemu.d/$1/$2/$3/*; do $f; done\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		idle  []string
		want  []guard.IdleHook
	}{
		{"no hook", nil, nil, nil},
		{"it is executable", map[string]string{"qemu": makes}, nil, nil},
		{"it makes pages", map[string]string{"qemu": makes}, []string{"qemu"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu", Makes: true}}},
		{"it does something else", map[string]string{"qemu.d/net": "#!/bin/sh\n"}, []string{"qemu.d/net"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu.d/net"}}},
		{"it runs what makes pages", map[string]string{"qemu": runs, "qemu.d/g/prepare/begin/a": makes}, []string{"qemu"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu", Makes: true}}},
		{"it runs that for another guest", map[string]string{"qemu": runs, "qemu.d/h/prepare/begin/a": makes}, []string{"qemu"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu"}}},
		{"what it runs", map[string]string{"qemu": runs, "qemu.d/g/prepare/begin/a": makes}, []string{"qemu.d/g/prepare/begin/a"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu.d/g/prepare/begin/a", Makes: true}}},
		{"nobody runs what makes pages", map[string]string{"qemu.d/g/prepare/begin/a": makes, "qemu": "#!/bin/sh\n"}, []string{"qemu.d/g/prepare/begin/a"}, nil},
		{"hugeguard runs it", map[string]string{"qemu": "\x7fELF", "qemu.site": makes}, []string{"qemu.site"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu.site", Makes: true}}},
		{"hugeguard is not there to run it", map[string]string{"qemu": runs, "qemu.site": makes}, []string{"qemu.site"}, nil},
		{"hugeguard is gone", map[string]string{"qemu.site": makes}, []string{"qemu.site"}, nil},
		{"somebody else's", map[string]string{"qemu": makes, "qemu.roots.unsure": ""}, []string{"qemu"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu", Foreign: true}}},
		{"it runs somebody else's", map[string]string{"qemu": runs, "qemu.d/g/prepare/begin/a": makes, "qemu.d/g/prepare/begin/a.roots.unsure": ""}, []string{"qemu"}, []guard.IdleHook{{Path: "/etc/libvirt/hooks/qemu"}}},
		{"no script", map[string]string{"qemu.d/README": "hugepages\n"}, []string{"qemu.d/README"}, nil},
		{"a copy", map[string]string{"qemu.d/a.bak": makes, "qemu.d/a.dpkg-old": makes, "qemu.d/a~": makes}, []string{"qemu.d/a.bak", "qemu.d/a.dpkg-old", "qemu.d/a~"}, nil},
	} {
		tree := sysfstest.New(t)
		for name, text := range test.files {
			tree.Write(hooksDir+"/"+name, text)
		}
		for _, name := range test.idle {
			tree.Write(hooksDir+"/"+name+".unsure", "")
		}
		if diff := cmp.Diff(test.want, idleHooks(tree.FS(), guard.Domain{Name: "g"})); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.name, diff)
		}
	}
}

// TestHookFiles: libvirt runs a regular file with any execute bit. It is root's only where no other user can change it.
func TestHookFiles(t *testing.T) {
	dir, root := t.TempDir(), os.Getuid() == 0
	file := filepath.Join(dir, "hook")
	look := func(name string) []hookFile { return hookFiles(sysfs.New("/"), []string{name[1:]}) }
	for _, test := range []struct {
		mode          os.FileMode
		owner         int
		idle, foreign bool
	}{{0o644, 0, true, false}, {0o755, 0, false, false}, {0o645, 0, false, false}, {0o664, 0, true, true}, {0o646, 0, true, true}, {0o644, 7, true, true}} {
		err := errors.Join(os.WriteFile(file, []byte("#!/bin/sh\n"), 0o600), os.Chmod(file, test.mode))
		if root { // for any other user they are foreign as they are
			err = errors.Join(err, os.Chown(file, test.owner, 0))
		}
		if err != nil {
			t.Fatal(err)
		}
		want := []hookFile{{file[1:], test.idle, test.foreign || !root, "#!/bin/sh\n"}}
		if got := look(file); !slices.Equal(got, want) {
			t.Errorf("%s of user %d: %+v, want %+v", test.mode, test.owner, got, want)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	if got := look(link); len(got) != 1 || !got[0].foreign || !got[0].idle {
		t.Errorf("a link: %+v", got)
	}
	if got := look(dir); got != nil {
		t.Errorf("a folder: %+v", got)
	}
}
