package livehost

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is said of this host is said of its capture, byte for byte, by a process that sees neither its processes nor its
// mounts: of every domain, and of one that libvirt was never told of.
func TestCapture(t *testing.T) {
	s := begin(t, 256)
	s.installGuard()
	guest, third, fits := domain{name: "a guest", mib: 64, cells: 2}, domain{name: "third", mib: 256, cells: 1}, domain{name: "fits", mib: 8, cells: 1}
	for _, d := range []domain{guest, third, fits} {
		s.define(d)
	}
	s.starts(guest)
	ovs := s.ovsHolds(ovsVswitchd, 64)
	// Pages that a memfd has and nobody maps, such as are only promised, a file that a container has open by another path,
	// and a segment that nobody has attached.
	s.hold("packetmover", touched, 5)
	s.hold("hoarder", memfd, 6)
	s.hold("waiter", reserved, 7)
	t.Cleanup(func() { os.Remove(leftover) })
	s.hold("leaver", file, 3).release()
	s.hold("container", elsewhere, 3)
	segment := s.hold("shared", sysv, 4)
	t.Cleanup(func() { run("ipcrm", "-m", segment.segment) })
	segment.release()
	const program, conf = "/usr/bin/nova-compute", "/etc/nova/elsewhere.conf"
	s.must(os.MkdirAll("/etc/nova", 0o755))
	s.must(os.WriteFile(conf, []byte("[DEFAULT]\ntransport_url = rabbit://nova:hunter2@controller\nreserved_huge_pages = node:0,size:2048,count:3\n"), 0o640))
	s.must(os.Chtimes(conf, time.Now(), time.Now().Add(-time.Hour)))
	s.must(os.WriteFile(program, []byte("#!/usr/bin/python3\nimport time\ntime.sleep(600)\n"), 0o755))
	t.Cleanup(func() { os.Remove(program); os.RemoveAll("/etc/nova") })
	compute, err := s.host.start("nova-compute", program, "--config-file", conf, "--password=hunter2")
	s.must(err)
	t.Cleanup(func() { s.check(compute.stop()) })
	other := s.path("other.xml")
	s.must(os.WriteFile(other, []byte(domain{name: "never defined", mib: 512, cells: 1}.xml()), 0o644))

	dir := t.TempDir()
	packed, zipped, tree := filepath.Join(dir, "host.tar"), filepath.Join(dir, "host.tar.gz"), filepath.Join(dir, "host")
	s.must(s.build())
	asked := [][]string{
		{"check", "--json", guest.name}, {"check", "--json", third.name}, {"check", "--json", fits.name}, {"check", "--json", other},
		{"check", "--all"}, {"status", "--json"}, {"reserve"}, {"reserve", "--format", "tripleo"},
	}
	available := regexp.MustCompile(`of the \S+ [GM]iB of memory available`) // changes all the time
	ask := func(args ...string) string {
		out, err := run(args...)
		out = available.ReplaceAllString(out, "of the memory available")
		var status map[string]json.RawMessage
		if json.Unmarshal([]byte(out), &status) == nil && status["refusals"] != nil {
			delete(status, "refusals") // of the journal, which no capture has
			text, err := json.Marshal(status)
			s.must(err)
			out = string(text)
		}
		return out + " " + itoa(exitStatus(err))
	}
	var want []string
	for _, args := range asked {
		want = append(want, ask(append([]string{s.cli}, args...)...))
	}
	if out := s.command(s.cli, 0, "capture", packed); out != "" {
		t.Errorf("capture says %q", out)
	}
	s.command(s.cli, 0, "capture", zipped)
	for i, args := range asked {
		if again := ask(append([]string{s.cli}, args...)...); again != want[i] {
			t.Fatalf("%q: the host did not stay as it was:\n%s", args, cmp.Diff(want[i], again))
		}
	}
	s.must(os.Mkdir(tree, 0o700))
	if out, err := run("tar", "-xf", packed, "-C", tree); err != nil {
		t.Fatal(err, out)
	}
	for _, root := range []string{packed, zipped, tree} {
		for i, args := range asked {
			elsewhere := append([]string{"unshare", "--mount", "--pid", "--ipc", "--fork", "--mount-proc", s.cli}, args...)
			if got := ask(append(elsewhere, "--root", root)...); got != want[i] {
				t.Errorf("%s: %q: of the capture (+) is said\n%s", root, args, cmp.Diff(want[i], got))
			}
		}
	}
	// Somebody who reads it on the way learns nothing else.
	out, err := run("tar", "-xOf", packed)
	s.must(err)
	if strings.Contains(out, "hunter2") || strings.Contains(out, "transport_url") {
		t.Errorf("a password is in\n%s", out)
	}
	// All of it had its say.
	var v struct {
		Cause string
		Pools json.RawMessage
	}
	s.must(json.Unmarshal([]byte(want[1][:strings.LastIndex(want[1], " ")]), &v))
	if v.Cause != "ovs-reservation" {
		t.Errorf("the cause is %q", v.Cause)
	}
	for _, said := range []string{`"packetmover"`, `"hoarder"`, "waiter", `"container"`, "System V segment " + segment.segment, `"pid":` + itoa(ovs.pid()), guest.name, `"reserved":3`} {
		if !strings.Contains(strings.Join(want, "\n"), said) {
			t.Errorf("nothing is said of %s:\n%s", said, strings.Join(want, "\n"))
		}
	}
	if list, err := filepath.Glob(os.TempDir() + "/hugeguard-capture-*"); err != nil || len(list) > 0 {
		t.Errorf("left behind: %v, %v", list, err)
	}
}
