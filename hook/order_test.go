package hook

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hugeguard/hook/hooktest"
	"hugeguard/hook/ledger"
)

// hooksDir makes a directory of hooks: a name that ends in / is a directory, one that
// begins with - is a file that cannot be executed.
func hooksDir(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		name, dir := strings.CutSuffix(name, "/")
		name, plain := strings.CutPrefix(name, "-")
		mode := os.FileMode(0o755)
		if plain {
			mode = 0o644
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if dir {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, nil, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestLater: what libvirt runs after us, by its own rules.
func TestLater(t *testing.T) {
	dir := hooksDir(t, "qemu", "qemu.d/.hidden", "qemu.d/10-first", "-qemu.d/notes.txt", "qemu.d/win10/prepare/begin/alloc.sh",
		"qemu.d/zz-hugeguard", "qemu.d/zzz last", "elsewhere/script", "network")
	for link, target := range map[string]string{"qemu.d/link": "../elsewhere/script", "qemu.d/zz-linked-dir": "win10", "qemu.d/zz-nowhere": "nothing"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for program, want := range map[string][]string{
		"qemu":                {"qemu.d/.hidden", "qemu.d/10-first", "qemu.d/link", "qemu.d/zzz last"},
		"qemu.d/10-first":     {"qemu.d/link", "qemu.d/zzz last"},
		"qemu.d/zz-hugeguard": {"qemu.d/zzz last"},
		"qemu.d/zzz last":     nil,
		"elsewhere/qemu":      nil, // there is no qemu.d beside it
	} {
		var wanted []string
		for _, name := range want {
			wanted = append(wanted, filepath.Join(dir, name))
		}
		if got := later(filepath.Join(dir, program)); !slices.Equal(got, wanted) {
			t.Errorf("after %s run %q, want %q", program, got, wanted)
		}
	}
}

// TestLaterHookMakesItAWarning: while another hook may still make pages, a shortage is no
// refusal; the journal says so, with who holds the pages and what to do.
func TestLaterHookMakesItAWarning(t *testing.T) {
	looked := 0
	start := func(t *testing.T, xml string, later ...string) (*fixture, int) {
		f := newFixture(t, strings.NewReader(hooktest.Domain(t, xml)))
		f.later = func() []string { looked++; return later }
		return f, f.prepare()
	}
	f, status := start(t, "prepare.xml", "/etc/libvirt/hooks/qemu.d/hugepages.sh")
	if status != exitAccept || f.stderr.Len() > 0 || len(f.entries) != 1 {
		t.Fatalf("status %d, stderr %q, journal %+v", status, &f.stderr, f.entries)
	}
	e := f.entries[0]
	for _, want := range []string{
		"node 0 is short of 2M pages: 0 of 1024 free, 256 needed (512 MiB); allowed: another hook runs after hugeguard's and may still add pages " +
			"(/etc/libvirt/hooks/qemu.d/hugepages.sh); to make hugeguard the last, run: hugeguard install\n",
		"Open vSwitch ovs-vswitchd (pid 2974) 512 (1 GiB)",
	} {
		if !strings.Contains(e.Message, want) {
			t.Errorf("the journal has no %q:\n%s", want, e.Message)
		}
	}
	if e.Priority != warning || e.Fields["HUGEGUARD_DECISION"] != "warn" || e.Fields["HUGEGUARD_CAUSE"] != "" || e.Fields["HUGEGUARD_NODE"] != "0" {
		t.Errorf("priority %d, %v", e.Priority, e.Fields)
	}
	// Those that follow reckon with its pages.
	if l, err := ledger.Read(f.fs); err != nil || len(l.Claims) != 1 || l.Claims[0].Name != "instance-00000003" {
		t.Errorf("the ledger has %+v, %v", l, err)
	}
	if _, status := start(t, "prepare.xml"); status != exitRefuse {
		t.Errorf("with no hook after it: status %d", status)
	}
	// A start that fits has no need to know.
	looked = 0
	if f, status := start(t, "prepare-on-node1.xml", "/etc/libvirt/hooks/qemu.d/x"); status != exitAccept || len(f.entries) > 0 || looked > 0 {
		t.Errorf("what fits: status %d, %+v, the hooks were looked at %d times", status, f.entries, looked)
	}
}

// TestLaterMayMake: the way to be the last depends on who is it.
func TestLaterMayMake(t *testing.T) {
	for path, want := range map[string]string{
		"/etc/libvirt/hooks/qemu.d/90-pages":   "run: hugeguard install",
		"/etc/libvirt/hooks/qemu.d/zzz-pages":  "rename that hook so that it sorts before zz-hugeguard",
		"/etc/libvirt/hooks/qemu.d/50%s\nhalt": "(/etc/libvirt/hooks/qemu.d/50%s\\nhalt); to make hugeguard the last, run: hugeguard install",
	} {
		if got := LaterMayMake([]string{path}); !strings.HasSuffix(got, want) {
			t.Errorf("%q: %q", path, got)
		}
	}
}

// TestAskedTwice: while install moves the guard, libvirt may ask it twice. The domain has one claim in the end, or none if
// the second refuses.
func TestAskedTwice(t *testing.T) {
	f := newFixture(t, nil)
	ask := func(xml string, later ...string) int {
		f.stdin = strings.NewReader(hooktest.Domain(t, xml))
		f.later = func() []string { return later }
		return f.prepare()
	}
	claims := func() (names []string) {
		l, err := ledger.Read(f.fs)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range l.Claims {
			names = append(names, c.Name)
		}
		return names
	}
	for range 2 {
		if status := ask("prepare-on-node1.xml"); status != exitAccept || len(f.entries) > 0 {
			t.Errorf("status %d, %+v", status, f.entries)
		}
	}
	if got := claims(); len(got) != 1 {
		t.Errorf("claims of %q", got)
	}
	// The first sees the second behind it, and leaves the refusal to that.
	if status := ask("prepare.xml", "/etc/libvirt/hooks/qemu.d/zz-hugeguard"); status != exitAccept {
		t.Errorf("the first: status %d", status)
	}
	if status := ask("prepare.xml"); status != exitRefuse {
		t.Errorf("the second: status %d", status)
	}
	if got := claims(); len(got) > 0 {
		t.Errorf("claims of %q", got)
	}
}
