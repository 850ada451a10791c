package package_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hugeguard/install/installtest"
)

// play runs a script of a package with stand-ins for the programs and files that it uses, and returns the programs'
// calls.
func play(t *testing.T, script, processes string, args ...string) string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"semodule", "selinuxenabled", "load_policy", "restorecon", "hugeguard", "systemctl", "deb-systemd-invoke", "rm"} {
		installtest.Write(t, filepath.Join(dir, name), "#!/bin/sh\necho ${0##*/} $* >>"+filepath.Join(dir, "calls")+"\n")
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	installtest.Write(t, filepath.Join(dir, "config"), "SELINUXTYPE=targeted\n")
	const path = "\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
	if !strings.Contains(string(text), path) {
		t.Fatalf("%s does not set PATH", script)
	}
	all := strings.NewReplacer(path, "\nPATH="+dir+"\n", "/proc/1/root", processes, "/etc/selinux/config", dir+"/config",
		"/run/systemd/system", dir).Replace(string(text))
	cmd := exec.Command("/bin/sh", append([]string{"-uc", all, script}, args...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", script, err, said)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Error(err)
	}
	return string(calls)
}

// Where an image is built in a chroot, the kernel is that of the host around it, whose policy stays.
func TestPolicyInChroot(t *testing.T) {
	for script, c := range map[string]struct{ arg, module string }{
		"postinst": {"configure", "-i /usr/share/selinux/packages/targeted/hugeguard.cil"},
		"postrm":   {"remove", "-r hugeguard"},
	} {
		for processes, loaded := range map[string]bool{"/": true, "/proc": false} { // what /proc/1/root is
			calls := play(t, "debian/hugeguard-selinux."+script, processes, c.arg)
			if !strings.Contains(calls, "semodule -n -s targeted -X 200 "+c.module+"\n") || strings.Contains(calls, "load_policy") != loaded ||
				strings.Contains(calls, "hugeguard install") != loaded {
				t.Errorf("%s, processes of %s:\n%s", script, processes, calls)
			}
		}
	}
}

// A removal stops what the timer started, since that has the lock which uninstall needs.
func TestRemovalStopsUnits(t *testing.T) {
	for script, arg := range map[string]string{"debian/hugeguard.prerm": "remove", "rpm/preun": "0"} {
		calls := play(t, script, "/", arg)
		stop := strings.Index(calls, "stop hugeguard-metrics.timer hugeguard-metrics.service hugeguard-withdraw.service ")
		if stop < 0 || strings.LastIndex(calls, "hugeguard uninstall\n") < stop {
			t.Errorf("%s:\n%s", script, calls)
		}
	}
}
