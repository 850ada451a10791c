package survey

import (
	"os"
	"path/filepath"
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

// TestIsIdle: libvirt runs a regular file with any execute bit.
func TestIsIdle(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]bool{0o644: true, 0o755: false, 0o645: false} {
		file := filepath.Join(dir, mode.String())
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if got := isIdle(sysfs.New("/"), file[1:]); got != want {
			t.Errorf("%s: %t, want %t", mode, got, want)
		}
	}
	if isIdle(sysfs.New("/"), dir[1:]) {
		t.Error("a folder is idle")
	}
}
