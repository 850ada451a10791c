package hook

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// goList runs "go list" and returns its lines.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the program is built
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

// TestProgramLinks: what the hook program must never link. libvirt starts it
// for every operation on every domain, so its start-up is what it costs.
func TestProgramLinks(t *testing.T) {
	deps := goList(t, "-deps", "./hook/qemu")
	for forbidden, reason := range map[string]string{
		"libvirt.org/go/libvirt":           "45 ms at start, and calling libvirt from a hook deadlocks",
		"C":                                "must run without a dynamic linker",
		"runtime/cgo":                      "must run without a dynamic linker",
		"net":                              "6 % of a call, for sockets that two system calls open",
		"os/exec":                          "a guard that runs programs can hang on them, and AppArmor confines what they may do",
		"regexp":                           "compiled at start; the formats here are simple",
		"google.golang.org/protobuf/proto": "registers every message at start",
		"github.com/spf13/cobra":           "flags are for people",
		"crypto/internal/fips140/drbg":     "32 MiB that count against RLIMIT_DATA and RLIMIT_AS of the daemon",
		"os/signal":                        "one thread more at each call",
		"testing":                          "tests are not shipped",
	} {
		if slices.Contains(deps, forbidden) {
			t.Errorf("the hook program links %s: %s", forbidden, reason)
		}
	}
	if !slices.Contains(deps, "hugeguard/guard") {
		t.Error("this test looks at the wrong program")
	}
}

// TestImports: imports run one way.
func TestImports(t *testing.T) {
	for pkg, allowed := range map[string][]string{
		"./sysfs":               {"golang.org/x/sys"},
		"./guard":               {"hugeguard/guard/nova", "hugeguard/guard/ovs"},
		"./guard/domain":        {"hugeguard/guard", "libvirt.org/go/libvirtxml"},
		"./guard/fix":           {"hugeguard/guard"},
		"./guard/room":          {"hugeguard/guard", "hugeguard/guard/fix"},
		"./guard/words":         {"hugeguard/guard", "hugeguard/guard/fix", "hugeguard/guard/ovs", "hugeguard/guard/room"},
		"./guard/nova":          {},
		"./guard/ovs":           {},
		"./hook/config":         {"hugeguard/guard", "hugeguard/sysfs"},
		"./hook/ledger":         {"hugeguard/guard", "hugeguard/sysfs", "golang.org/x/sys"},
		"./hook/survey":         {"hugeguard/guard", "hugeguard/hook/config", "hugeguard/hook/ledger", "hugeguard/hook/survey", "hugeguard/sysfs"},
		"./hook/survey/libvirt": {"hugeguard/guard", "hugeguard/sysfs"},
		"./hook/survey/process": {"hugeguard/guard", "hugeguard/sysfs"},
		"./hook/survey/holders": {"hugeguard/guard", "hugeguard/hook/survey/process", "hugeguard/sysfs"},
		"./hook/survey/vswitch": {"hugeguard/guard", "hugeguard/hook/config", "hugeguard/hook/survey/process", "hugeguard/sysfs", "golang.org/x/sys"},
		"./hook/survey/compute": {"hugeguard/guard", "hugeguard/hook/config", "hugeguard/hook/ledger", "hugeguard/hook/survey/process", "hugeguard/sysfs"},
		"./hook": {"hugeguard/guard", "hugeguard/hook/config", "hugeguard/hook/ledger", "hugeguard/hook/survey", "hugeguard/sysfs",
			"golang.org/x/sys"},
	} {
		for _, imported := range goList(t, "-f", `{{join .Imports "\n"}}`, pkg) {
			standard := !strings.Contains(imported, ".") && !strings.HasPrefix(imported, "hugeguard/")
			if !standard && !slices.ContainsFunc(allowed, func(a string) bool { return imported == a || strings.HasPrefix(imported, a+"/") }) {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

// TestGuardIsPure: what judges, and what says it, knows no files, no clock and no environment, so that every verdict can
// be played again.
func TestGuardIsPure(t *testing.T) {
	packages := goList(t, "./guard/...")
	if len(packages) < 7 {
		t.Errorf("only %d packages: %q", len(packages), packages)
	}
	for _, pkg := range packages {
		for _, imported := range goList(t, "-f", `{{join .Imports "\n"}}`, pkg) {
			first, _, _ := strings.Cut(imported, "/")
			if slices.Contains([]string{"os", "syscall", "net", "time", "runtime"}, first) ||
				slices.Contains([]string{"io/fs", "path/filepath", "math/rand", "math/rand/v2", "crypto/rand"}, imported) {
				t.Errorf("%s imports %s", pkg, imported)
			}
		}
	}
}

// TestPackageComments: every package has one comment, in one file.
func TestPackageComments(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,GoFiles", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); packages++ {
		var pkg struct {
			ImportPath, Doc string
			GoFiles         []string
		}
		if err := decoder.Decode(&pkg); err != nil {
			t.Fatal(err)
		}
		if pkg.Doc == "" && len(pkg.GoFiles) > 0 { // one of tests alone needs none
			t.Errorf("%s has no package comment", pkg.ImportPath)
		}
	}
	if packages < 5 {
		t.Errorf("only %d packages", packages)
	}
}
