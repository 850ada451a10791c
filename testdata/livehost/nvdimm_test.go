package livehost

import (
	"os"
	"strings"
	"testing"
)

// TestNVDIMM: an NVDIMM in a file on hugetlbfs takes its pages at the start, and the file keeps them. So the guest starts
// where there are enough, or the file has them; nothing tells before, so it is never refused.
func TestNVDIMM(t *testing.T) {
	const path, pages = "/dev/hugepages/nvdimm", 32
	d := domain{name: "nvdimm", mib: 32, cells: 1, small: true, dimm: 2 * pages}
	xml := strings.Replace(d.xml(), "<memory model='dimm'>", "<memory model='nvdimm' access='shared'><source><path>"+path+"</path></source>", 1)
	launch := func(s *scene, want string, starts bool) {
		t.Helper()
		if report := s.askGuard(d); report.Decision != want {
			t.Errorf("%s, want %s: %s", report.Decision, want, report.Summary)
		}
		switch _, _, err := s.start(d); {
		case (err == nil) != starts:
			t.Errorf("it starts: %v; want %v: %v", err == nil, starts, err)
		case err != nil && !strings.Contains(err.Error(), "memory"):
			t.Errorf("it failed for another reason: %v", err)
		case err == nil:
			if n := hugePagesOf(s.qemuPID(d)); n != pages {
				t.Errorf("QEMU holds %d pages, want %d", n, pages)
			}
			s.virsh("destroy", d.name)
		}
	}
	for name, test := range map[string]func(*scene){
		"enough, and then the file has them": func(s *scene) {
			launch(s, "allow", true)
			launch(s, "warn", true)
		},
		"too few": func(s *scene) { launch(s, "warn", false) },
	} {
		t.Run(name, func(t *testing.T) {
			left := pages
			if name == "too few" {
				left--
			}
			s := begin(t, left)
			empty, err := os.Create(path) // libvirt wants one, and QEMU makes it as large as it is to be
			s.must(err)
			t.Cleanup(func() { s.must(os.Remove(path)) })
			s.must(empty.Close())
			file := s.path("domain.xml")
			s.must(os.WriteFile(file, []byte(xml), 0o644))
			s.virsh("define", file)
			test(s)
		})
	}
}
