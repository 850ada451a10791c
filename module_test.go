package hugeguard_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestModuleMoves: the module takes the path of its home, and imports nothing of its former one.
func TestModuleMoves(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "guard", "hook", "sysfs", "install", "testdata"} {
		if out, err := exec.Command("cp", "-R", name, dir).CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
	}
	const home = "example.org/team/hugeguard"
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, &errs)
		}
		return string(out)
	}
	run(filepath.Join(dir, "install/package/module.sh"), home)
	packages := strings.Fields(run("go", "list", "-deps", "-test", "./..."))
	found := false
	for _, name := range packages {
		if strings.HasPrefix(name, "hugeguard/") {
			t.Errorf("%s is still among its packages", name)
		}
		found = found || name == home+"/hook/qemu"
	}
	if !found {
		t.Errorf("no %s/hook/qemu among %d packages", home, len(packages))
	}
}
