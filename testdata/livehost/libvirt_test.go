package livehost

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestLibvirtRefuses: libvirt's daemon knows no mount, then none that is younger than itself, and finds it when it is
// restarted. Each time the command says what libvirt will say, and the fix is what helps.
func TestLibvirtRefuses(t *testing.T) {
	s := begin(t, 64)
	d := domain{name: "early", mib: 64}
	s.define(d)
	s.must(s.libvirtd.stop())
	s.must(os.RemoveAll(hugetlbfs + "/libvirt"))
	s.must(syscall.Unmount(hugetlbfs, 0))
	mounted := false
	t.Cleanup(func() {
		if !mounted {
			s.check(mount(hugetlbfs, hugetlbfs, "hugetlbfs", 0, "pagesize=2M"))
		}
		if s.libvirtd.running() {
			s.check(s.libvirtd.stop())
		}
		s.check(s.startLibvirtd())
	})
	s.must(s.startLibvirtd())
	const unknown = "hugetlbfs filesystem is not mounted or disabled by administrator config"
	refuses := func(says string) {
		t.Helper()
		if _, _, err := s.start(d); err == nil || !strings.Contains(err.Error(), unknown) {
			t.Errorf("libvirt says %v, want %s", err, unknown)
		}
		if r := s.askGuard(d); r.RefusedBy != "libvirt" || !strings.Contains(r.Summary, says) {
			t.Errorf("refused by %q: %s, want %s", r.RefusedBy, r.Summary, says)
		}
	}
	refuses("no hugetlbfs of 2M pages is mounted")
	s.must(mount(hugetlbfs, hugetlbfs, "hugetlbfs", 0, "pagesize=2M"))
	mounted = true
	refuses("hugetlbfs at /dev/hugepages (2M pages) was mounted after libvirt's daemon was started")
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
	if r := s.askGuard(d); r.Decision != "allow" || r.RefusedBy != "" {
		t.Errorf("%s by %q: %s", r.Decision, r.RefusedBy, r.Summary)
	}
	s.starts(d)
}
