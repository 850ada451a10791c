package livehost

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// What Nova was told, from the files that a nova-compute which really runs names on its command line, and
// whether it can have read them.
func TestNova(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	s.hold("packetmover", touched, 40)
	const program, conf = "/usr/bin/nova-compute", "/etc/nova/elsewhere.conf"
	s.must(os.MkdirAll("/etc/nova", 0o755))
	write := func(text string) { s.must(os.WriteFile(conf, []byte(text), 0o640)) }
	write("[DEFAULT]\ntransport_url = rabbit://nova:hunter2@controller\n")
	s.must(os.WriteFile(program, []byte("#!/usr/bin/python3\nimport time\ntime.sleep(600)\n"), 0o755))
	t.Cleanup(func() { os.Remove(program); os.RemoveAll("/etc/nova") })
	starts := func() *daemon {
		compute, err := s.host.start("nova-compute", program, "--config-file", conf)
		s.must(err)
		return compute
	}
	compute := starts()
	t.Cleanup(func() { s.check(compute.stop()) })

	says := func(want string) {
		t.Helper()
		line, e := s.refused(d)
		if !strings.Contains(line, "packetmover") || !strings.Contains(line, want) {
			t.Errorf("%q is not in\n%s", want, line)
		}
		if all := fmt.Sprint(e); strings.Contains(all, "hunter2") {
			t.Errorf("a password in\n%s", all)
		}
	}
	says(" has 40, nova.conf reserves none; fix: reserved_huge_pages=node:0,size:2048,count:40")

	// An admin does what it says, but for the restart. When a process was started is known to about a second.
	lines := s.command(s.cli, 0, "reserve")
	for out := ""; !strings.Contains(out, "reserve 40 (80 MiB), counts 0; drift not known before nova-compute is restarted\n"); out = s.command(s.cli, 0, "status") {
		write(lines)
	}
	says(fmt.Sprintf(", nova.conf reserves 40; fix: restart nova-compute (pid %d), which was started before %s was changed", compute.pid(), conf))

	s.must(compute.stop())
	compute = starts()
	says(", nova.conf reserves 40; Nova believes only 24 free there")
	if out := s.command(s.cli, 0, "status"); !strings.Contains(out, "reserves 40 (80 MiB), counts 0, believes 24 (48 MiB) free; no drift\n") {
		t.Errorf("status says\n%s", out)
	}
}
