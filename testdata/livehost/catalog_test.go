package livehost

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The message catalog explains an entry to readers of journalctl -x, with the entry's own numbers.
func TestCatalog(t *testing.T) {
	text, err := os.ReadFile("../../install/shipped/hugeguard.catalog")
	if err != nil {
		t.Fatal(err)
	}
	// What "make install" puts below a root is a catalog that systemd takes, all of it.
	root := t.TempDir()
	install := exec.Command("make", "-C", "../..", "install", "DESTDIR="+root)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("journalctl", "--root="+root, "--update-catalog"); err != nil || out != "" {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("journalctl", "--root="+root, "--list-catalog"); err != nil || strings.Count(out, " hugeguard: ") != strings.Count(string(text), "\n-- ") {
		t.Errorf("%v\n%s", err, out)
	}

	const installed = "/usr/lib/systemd/catalog/hugeguard.catalog"
	if err := os.WriteFile(installed, text, 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(installed)
	if out, err := run("journalctl", "--update-catalog"); err != nil || out != "" {
		t.Fatalf("%v: %s", err, out)
	}

	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	s.hold("packetmover", touched, 40)
	_, e := s.refused(d)
	out, err := run("journalctl", "-x", "--no-pager", "MESSAGE_ID="+e.one(t, "MESSAGE_ID"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Subject: Another process holds the huge pages that guest squeezed needs\n",
		"It needs 32 huge pages of\n-- 2048 KiB",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "@HUGEGUARD") {
		t.Errorf("not all is filled in:\n%s", out)
	}
}
