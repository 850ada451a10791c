package status

import (
	"os"
	"strings"
	"testing"

	"hugeguard/hook/config"
	"hugeguard/install/daemon"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
)

// The settings of a daemon in a container are the ones in the container's file.
func TestDaemonSettings(t *testing.T) {
	host, container := sysfstest.New(t), sysfstest.New(t)
	host.Write("etc/hugeguard.conf", "mode = off\n")
	host.Write("proc/77/comm", "libvirtd\n")
	if err := os.Symlink(container.Path(""), host.Path("proc/77/root")); err != nil {
		t.Fatal(err)
	}
	here, err := config.Read(host.FS())
	if err != nil {
		t.Fatal(err)
	}
	on, p := daemon.On(host.FS()), daemon.Process{Name: "libvirtd", PID: 77}
	for text, want := range map[string]string{
		"mode = enforce\n":                 "libvirtd (pid 77) runs in a container and reads another /etc/hugeguard.conf than this host (mode = enforce, not off)",
		"mode = off\n":                     "",
		"mode = off\nfail = closed\n":      "another /etc/hugeguard.conf than this host (settings)",
		"mode = off\n# the same\nmode=off": "",
	} {
		container.Write("etc/hugeguard.conf", text)
		there, differs := DaemonSettings(on, p, here)
		if want == "" && differs != "" || !strings.Contains(differs, want) {
			t.Errorf("%q: %q, want %q", text, differs, want)
		}
		if read, _ := config.Read(sysfs.New(container.Path(""))); there.Mode != read.Mode || there.Fail != read.Fail {
			t.Errorf("%q: %+v, want %+v", text, there, read)
		}
	}
	// With the host's processes the hook there reads the host's file.
	container.Write("etc/hugeguard.conf", "mode = enforce\n")
	host.Write("proc/77/status", "CapEff:\tffffffffffffffff\n")
	for _, pid := range []string{"1", "77"} {
		if err := os.MkdirAll(host.Path("proc/"+pid+"/ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("pid:[4026531836]", host.Path("proc/"+pid+"/ns/pid")); err != nil {
			t.Fatal(err)
		}
	}
	if there, differs := DaemonSettings(on, p, here); differs != "" || there.Mode != config.Off {
		t.Errorf("with the host's processes: %+v, %q", there, differs)
	}
	os.Remove(host.Path("proc/77/root"))
	if err := os.Symlink(host.Path(""), host.Path("proc/77/root")); err != nil {
		t.Fatal(err)
	}
	if there, differs := DaemonSettings(on, p, here); differs != "" || there.Mode != config.Off {
		t.Errorf("a daemon of the host itself: %+v, %q", there, differs)
	}
}
