package livehost

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hugeguard/guard"
	"hugeguard/testdata/machine"
)

// Every cause, each from a host that is really in that state; but for Open vSwitch (ovs_test.go), and for a binding
// that is impossible, which takes a host of two nodes (testdata/numabox).

func TestCauseGuests(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	first, second := domain{name: "first", mib: 96, cells: 1}, domain{name: "second", mib: 64, cells: 1}
	s.define(first)
	s.define(second)
	s.starts(first)
	line, e := s.refused(second)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "guests",
		"HUGEGUARD_HOLDER_PID":   itoa(s.qemuPID(first)),
		"HUGEGUARD_HOLDER_PAGES": "48",
	})
	if !strings.Contains(line, "first") || !strings.Contains(e.one(t, "HUGEGUARD_HOLDER"), "first") {
		t.Errorf("the guest first is not named: HUGEGUARD_HOLDER=%q\n%s", e.one(t, "HUGEGUARD_HOLDER"), line)
	}
	s.virsh("destroy", first.name)
	s.starts(second)
}

func TestCauseOtherHolder(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("packetmover", touched, 40)
	line, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "packetmover",
		"HUGEGUARD_HOLDER_PID":   itoa(h.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	if !strings.Contains(line, "packetmover") {
		t.Errorf("the holder is not named:\n%s", line)
	}
	h.release()
	s.starts(d)
}

// A QEMU that somebody started by hand is no guest of libvirt's: it is named by its process and by the
// unit that its control group is of.
func TestCauseOtherHolderQEMU(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	qemu, err := s.host.start("qemu", emulator, "-name", "mine", "-machine", "none", "-S", "-display", "none", "-nodefaults",
		"-object", "memory-backend-memfd,id=m,size=80M,hugetlb=on,hugetlbsize=2M,prealloc=on")
	s.must(err)
	t.Cleanup(func() {
		if qemu.running() {
			s.check(qemu.stop())
		}
	})
	s.must(eventually(func() error {
		if p := s.pool(); p.free != 24 {
			return fmt.Errorf("the pool is %+v, want 40 pages held", p)
		}
		return nil
	}))
	unit := s.unit(qemu.pid())
	line, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "qemu-system-x86",
		"HUGEGUARD_HOLDER_PID":   itoa(qemu.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
		"HUGEGUARD_HOLDER_UNIT":  unit,
	})
	if want := fmt.Sprintf("qemu-system-x86 (pid %d, %s) has 40;", qemu.pid(), unit); !strings.Contains(line, want) {
		t.Errorf("it is not named:\n%s\nwant %s", line, want)
	}
	s.must(qemu.stop())
	s.starts(d)
}

// unit puts a process into a control group such as systemd makes for a unit, and returns the unit's name.
func (s *scene) unit(pid int) string {
	s.t.Helper()
	name := fmt.Sprintf("livehost-%d.service", pid)
	dir := filepath.Join(cgroup2(s.t), name)
	s.must(os.Mkdir(dir, 0o755))
	s.t.Cleanup(func() {
		s.check(eventually(func() error { return os.Remove(dir) }))
	})
	s.must(os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(itoa(pid)), 0))
	return name
}

// cgroup2 is where the control groups of version 2 are mounted.
func cgroup2(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(mounts), "\n") {
		if words := strings.Fields(line); len(words) > 2 && words[2] == "cgroup2" {
			return words[1]
		}
	}
	t.Fatal("no control groups of version 2 are mounted")
	return ""
}

// Free pages that the kernel has promised to somebody are not free.
func TestCauseKernelReserved(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("lazybones", reserved, 40)
	if p := s.pool(); p != (pool{total: 64, free: 64, reserved: 40}) {
		t.Fatalf("the pool is %+v, want all free and 40 reserved", p)
	}
	line, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "kernel-reserved",
		"HUGEGUARD_FREE":         "64",
		"HUGEGUARD_NEEDED":       "32",
		"HUGEGUARD_HOLDER":       "lazybones",
		"HUGEGUARD_HOLDER_PID":   itoa(h.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	want := fmt.Sprintf("promises hold node 0's 2M pages: 64 of 64 free, 40 of them promised, 24 usable, 32 needed (64 MiB); lazybones (pid %d) is promised 40, not touched yet; ", h.pid())
	if !strings.HasPrefix(line, want) {
		t.Errorf("the reservation is not told:\n%s", line)
	}

	s.dies(d, qemuNoPages)
	_, err := run("/bin/sh", "-c", e.one(t, "HUGEGUARD_FIX"))
	s.must(err)
	s.size = s.pool().total
	s.starts(d)
	s.virsh("destroy", d.name)
	h.release()
}

// Files that nobody has open keep their pages: the fix is the command that deletes them, after which
// the domain starts. Files that somebody has open are not among them.
func TestCauseLeftoverFiles(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	s.hold("crashed", file, 20).release()
	second, odd := filepath.Join(hugetlbfs, "rtemap_1"), filepath.Join(hugetlbfs, "dead guest's file")
	s.must(os.Rename(leftover, second))
	s.hold("crashed", file, 15).release()
	s.must(os.Rename(leftover, odd))
	s.hold("crashed", file, 5).release()
	for _, name := range []string{leftover, second, odd} {
		t.Cleanup(func() { os.Remove(name) })
	}
	if p := s.pool(); p.free != 24 {
		t.Fatalf("the pool is %+v, want 40 pages held by files", p)
	}
	line, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "leftover-files",
		"HUGEGUARD_HOLDER":       hugetlbfs + "/rtemap_*",
		"HUGEGUARD_HOLDER_PAGES": "25",
	})
	if want := "leftover files hold node 0's 2M pages: 24 of 64 free, 32 needed (64 MiB); 2 leftover files /dev/hugepages/rtemap_* have 25, leftover file /dev/hugepages/dead guest's file has 15; "; !strings.Contains(line, want) {
		t.Errorf("what is left over is not told:\n%s\nwant %s", line, want)
	}
	_, err := run("/bin/sh", "-c", e.one(t, "HUGEGUARD_FIX"))
	s.must(err)
	if p := s.pool(); p.free != 64 {
		t.Errorf("after the fix the pool is %+v", p)
	}
	s.starts(d)
}

// Pages that the one who maps them has not touched are the other one's who did, and has ended: only the
// file itself tells how many they are.
func TestCauseOtherHolderUntouched(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	first := s.hold("crashed", file, 40)
	survivor := s.hold("survivor", mapped, 40)
	first.release()
	s.must(os.Remove(leftover))
	_, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "survivor",
		"HUGEGUARD_HOLDER_PID":   itoa(survivor.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	survivor.release()
	s.starts(d)
}

// A file that a process in a container has open, by another path than the host's, is not left over.
func TestCauseOtherHolderContained(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	first := s.hold("crashed", file, 40)
	t.Cleanup(func() { os.Remove(leftover) })
	contained := s.hold("contained", elsewhere, 40)
	first.release()
	_, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "contained",
		"HUGEGUARD_HOLDER_PID":   itoa(contained.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	contained.release()
	_, e = s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "leftover-files", "HUGEGUARD_FIX": "rm " + leftover})
	s.must(os.Remove(leftover))
	s.starts(d)
}

// A memfd keeps its pages while it is open, mapped or not.
func TestCauseOtherHolderMemfd(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("parker", memfd, 40)
	if n := hugePagesOf(h.pid()); n != 0 {
		t.Fatalf("it maps %d pages", n)
	}
	_, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "parker",
		"HUGEGUARD_HOLDER_PID":   itoa(h.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	h.release()
	s.starts(d)
}

// A System V segment belongs to whom has it attached, and outlives them all.
func TestCauseSegment(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("database", sysv, 40)
	t.Cleanup(func() { run("ipcrm", "-m", h.segment) })
	_, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "other-holder",
		"HUGEGUARD_HOLDER":       "database",
		"HUGEGUARD_HOLDER_PID":   itoa(h.pid()),
		"HUGEGUARD_HOLDER_PAGES": "40",
	})
	h.release()
	line, e := s.refused(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":        "leftover-files",
		"HUGEGUARD_HOLDER":       "System V segment " + h.segment,
		"HUGEGUARD_HOLDER_PAGES": "40",
		"HUGEGUARD_FIX":          "ipcrm -m " + h.segment,
	})
	if !strings.Contains(line, "System V segment "+h.segment+", which nobody has attached, has 40;") {
		t.Errorf("the segment is not told:\n%s", line)
	}
	_, err := run("/bin/sh", "-c", e.one(t, "HUGEGUARD_FIX"))
	s.must(err)
	s.starts(d)
}

// Pages that nobody shows are said to be so: here a file too deep down on the mount, beside a segment that is not
// of huge pages and must not be named for deletion.
func TestCauseUnaccounted(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "squeezed", mib: 64, cells: 1}
	s.define(d)
	h := s.hold("crashed", file, 40)
	h.release()
	// Below another mount the file is still there, and nobody finds it.
	deep := hugetlbfs + strings.Repeat("/d", 12)
	s.must(os.MkdirAll(deep, 0o755))
	t.Cleanup(func() { os.RemoveAll(hugetlbfs + "/d") })
	s.must(os.Rename(leftover, deep+"/hidden"))
	bystander := s.hold("database", ordinary, 10)
	t.Cleanup(func() { run("ipcrm", "-m", bystander.segment) })
	bystander.release()
	line, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "unaccounted"})
	if !strings.Contains(line, "unexplained use of node 0's 2M pages: 24 of 64 free, 32 needed (64 MiB); for 40 of the 64 no holder was found (time ran out before every holder was examined);") {
		t.Errorf("what is gone is not told:\n%s", line)
	}
	s.must(os.RemoveAll(hugetlbfs + "/d"))
	s.starts(d)
}

func TestCausePoolMissing(t *testing.T) {
	s := begin(t, 0)
	s.installGuard()
	d := domain{name: "dry", mib: 64, cells: 1}
	s.define(d)
	_, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "pool-missing"})
}

// A domain that names no node is refused where no node can serve it.
func TestCausePoolTooSmallUnbound(t *testing.T) {
	s := begin(t, 16)
	s.installGuard()
	d := domain{name: "wide", mib: 64, soft: true}
	s.define(d)
	_, e := s.refused(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "pool-too-small"})
}

// dies starts the domain without the guard, and QEMU must end with these words.
func (s *scene) dies(d domain, words string) {
	s.t.Helper()
	s.uninstallGuard()
	if _, _, err := s.start(d); !s.died(d, err, words) {
		s.t.Errorf("without the guard: %v; want QEMU's %q", err, words)
	}
	s.launches(d)
	s.installGuard()
}

// A limit on the mount is met though the pool has pages. The fix is a mount over it.
func TestCauseMountLimit(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "limited", mib: 64, cells: 1}
	s.define(d)
	t.Cleanup(func() {
		virsh("destroy", d.name)
		for len(hugetlbMounts()) > 1 {
			s.check(eventually(func() error { return syscall.Unmount(hugetlbfs, 0) }))
		}
	})
	s.must(mount("limited", hugetlbfs, "hugetlbfs", 0, "pagesize=2M,size=60M"))
	line, e := s.turnedAway(d)
	e.want(t, map[string]string{
		"HUGEGUARD_CAUSE":    "mount-limit",
		"HUGEGUARD_PAGE_KIB": "2048",
		"HUGEGUARD_NEEDED":   "32",
		"HUGEGUARD_FREE":     "30",
		"HUGEGUARD_TOTAL":    "30",
		"HUGEGUARD_FIX":      "mount -t hugetlbfs -o pagesize=2048K,size=67108864 hugetlbfs /dev/hugepages",
	})
	if !strings.HasPrefix(line, "mount limit is too low for 2M pages: size= of /dev/hugepages leaves 30 of 30, 32 needed (64 MiB); fix: mount ") {
		t.Errorf("the limit is not told:\n%s", line)
	}
	s.dies(d, qemuNoPages)
	_, err := run("/bin/sh", "-c", e.one(t, "HUGEGUARD_FIX"))
	s.must(err)
	s.starts(d)
}

// hugetlbMounts are the mounts on the mount point of huge pages.
func hugetlbMounts() (found []string) {
	mounts, _ := os.ReadFile("/proc/mounts")
	for _, line := range strings.Split(string(mounts), "\n") {
		if words := strings.Fields(line); len(words) > 2 && words[1] == hugetlbfs {
			found = append(found, line)
		}
	}
	return found
}

// A limit on the control group above QEMU's: on pages from when they are mapped, or from when they are touched.
func TestCauseCgroupLimit(t *testing.T) {
	for file, words := range map[string]string{"rsvd.max": qemuNoPages, "max": "preallocating memory failed: Bad address"} {
		t.Run(file, func(t *testing.T) {
			s := begin(t, 64)
			s.installGuard()
			d := domain{name: "limited", mib: 64, cells: 1}
			s.define(d)
			limit := filepath.Join(s.limitedGroup(), "hugetlb.2MB."+file)
			s.must(os.WriteFile(limit, []byte("60M"), 0))
			line, e := s.turnedAway(d)
			e.want(t, map[string]string{
				"HUGEGUARD_CAUSE":    "cgroup-limit",
				"HUGEGUARD_PAGE_KIB": "2048",
				"HUGEGUARD_NEEDED":   "32",
				"HUGEGUARD_FREE":     "30",
				"HUGEGUARD_TOTAL":    "30",
				"HUGEGUARD_FIX":      "echo 67108864 > " + limit + "\ncat " + limit,
			})
			if !strings.HasPrefix(line, "cgroup limit is too low for 2M pages: "+limit+" leaves 30 of 30 (0 used") {
				t.Errorf("the limit is not told:\n%s", line)
			}
			s.dies(d, words)
			_, err := run("/bin/sh", "-c", e.one(t, "HUGEGUARD_FIX"))
			s.must(err)
			s.starts(d)
		})
	}
}

// limitedGroup puts libvirtd, and so what it runs, into a control group that can be limited and that is all that
// this host sees of the control groups. It returns where that is mounted.
func (s *scene) limitedGroup() string {
	s.t.Helper()
	root := cgroup2(s.t)
	enabled, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	s.must(err)
	enable := func(sign string) error {
		return os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte(sign+"hugetlb"), 0)
	}
	own := filepath.Join(root, "livehost-limited")
	s.must(enable("+"))
	s.must(os.Mkdir(own, 0o755))
	libvirt := []byte(itoa(s.libvirtd.pid()))
	s.must(os.WriteFile(filepath.Join(own, "cgroup.procs"), libvirt, 0))
	s.must(mount(own, root, "", syscall.MS_BIND, ""))
	s.t.Cleanup(func() {
		virsh("destroy", "limited")
		s.check(syscall.Unmount(root, 0))
		s.check(os.WriteFile(filepath.Join(root, "cgroup.procs"), libvirt, 0))
		s.check(eventually(func() error { return os.Remove(own) }))
		if !strings.Contains(string(enabled), "hugetlb") {
			s.check(enable("-"))
		}
	})
	return root
}

// A memfd is made of whole pages: QEMU's words say nothing of that.
func TestCauseSizeMismatch(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "odd", mib: 63, cells: 1, source: "memfd"}
	s.define(d)
	line, e := s.turnedAway(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "size-mismatch", "HUGEGUARD_PAGE_KIB": "2048", "HUGEGUARD_FIX": "make ram-node0 64 MiB"})
	if !strings.HasPrefix(line, "size is no multiple of 2M pages: ram-node0 is 63 MiB, and QEMU requires a multiple; ") {
		t.Errorf("the size is not told:\n%s", line)
	}
	s.dies(d, "failed to resize memfd to 66060288: Invalid argument")
	d.mib = 64
	s.define(d)
	s.starts(d)
}

func TestCausePageSizeUnsupported(t *testing.T) {
	s := begin(t, 64)
	s.installGuard()
	d := domain{name: "foreign", mib: 512, cells: 1, source: "memfd", page: 512 << 10}
	s.define(d)
	line, e := s.turnedAway(d)
	e.want(t, map[string]string{"HUGEGUARD_CAUSE": "page-size-unsupported", "HUGEGUARD_PAGE_KIB": "524288"})
	sizes, err := machine.Sizes()
	s.must(err)
	var has []string
	for _, kib := range sizes {
		has = append(has, strings.TrimSuffix(strings.Replace(guard.Size(kib), " ", "", 1), "iB"))
	}
	if want := "this kernel has no 512M pages: it has " + strings.Join(has, " and ") + ", and ram-node0 needs "; !strings.HasPrefix(line, want) {
		t.Errorf("the size is not told:\n%s\nwant %s", line, want)
	}
	s.dies(d, "memfd")
	d.page, d.mib = 0, 64
	s.define(d)
	s.starts(d)
}
