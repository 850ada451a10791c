package livehost

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// fix is one of the fixes in check --json.
type fix struct {
	Kind     string   `json:"kind"`
	What     string   `json:"what"`
	Commands []string `json:"commands"`
	Lines    []string `json:"lines"`
	Lasting  []string `json:"lasting"`
}

// notExecuted are the kinds of fixes that cannot be executed here, each with the reason.
var notExecuted = map[string]string{
	"reserve-in-vdsm":  "oVirt's agent has to follow it, which is not here",
	"run-in-pod":       "Kubernetes has to follow it, which is not here",
	"raise-pod-limit":  "Kubernetes has to follow it, which is not here",
	"set-starling-x":   "StarlingX has to follow it, which is not here",
	"free-dead-guests": "the program that plays the back end here has no command for it",
	"try-again":        "the starting guest has to start first: TestTakenPagesAreCountedOnce has it end",
	"look-unconfined":  "it only looks for those who have the pages",
	"stop-guest":       "no guest here has a system that shuts down when it is told to",
}

const inBox = "it takes a machine of its own: the two-node machine executes it"

// notTuned are the programs whose own switch cannot be tried here, each with the reason.
var notTuned = map[string]string{
	"vpp":    "VPP is not here: its packages are not Debian's",
	"spdk":   "SPDK is not here; the option is printed only where all its pages lie on one node, so that DPDK cannot take them from another",
	"dpdk-":  "dpdk-testpmd takes its memory by this option on the two-node machine, but nothing starts it again with another",
	"mysqld": "MySQL with large pages needs a server of its own here",
	"java":   "no Java is here",
	"ora_":   "Oracle's database is not free",
	"xmrig":  "a miner is none of Debian's packages",
}

// shortage is a host on which a domain does not start, and the fixes that are printed there.
type shortage struct {
	name   string
	pages  int // of the pool
	domain domain
	make   func(s *scene, d domain)
	kinds  []string // of the fixes, in this order
	// again does what the owner of a process, or systemd, does once a fix has ended it; nil if that may stay away.
	again func(s *scene)
	// elsewhere are the kinds that cannot be executed on this host alone, each with the reason.
	elsewhere map[string]string
	// libvirts says that libvirt itself refuses the start.
	libvirts bool
	// warned is the kind of the fix after which the guard warns of the start: it cannot know what the site's hook will do.
	warned string
}

var shortages = []shortage{
	{
		name: "guests", pages: 64, domain: domain{name: "second", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			first := domain{name: "first", mib: 96, cells: 1}
			s.define(first)
			s.starts(first)
		},
		kinds: []string{"grow-pools", "stop-guest"},
	},
	{
		name: "a process", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make:  func(s *scene, d domain) { s.hold("packetmover", touched, 40) },
		kinds: []string{"grow-pools", "stop-processes"},
	},
	{
		name: "two processes", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.hold("packetmover", touched, 20)
			s.hold("hoarder", touched, 30)
			s.hold("smaller", touched, 8)
		},
		kinds: []string{"grow-pools", "stop-processes"},
	},
	{
		name: "a process in a unit", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			h := s.hold("packetmover", touched, 40)
			s.unit(h.pid())
			s.t.Cleanup(h.release) // before its control group
		},
		kinds: []string{"grow-pools", "stop-processes"},
	},
	{
		name: "a program with a switch of its own", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make:      func(s *scene, d domain) { s.hold("xmrig", touched, 40) },
		kinds:     []string{"grow-pools", "tune-process", "stop-processes"},
		elsewhere: map[string]string{"tune-process": notTuned["xmrig"]},
	},
	{
		name: "PostgreSQL", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make:  func(s *scene, d domain) { s.makePostgreSQL(80) },
		kinds: []string{"grow-pools", "tune-process", "stop-processes"},
		again: func(s *scene) { s.startPostgreSQL() },
	},
	{
		name: "promised pages", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make:  func(s *scene, d domain) { s.hold("lazybones", reserved, 40) },
		kinds: []string{"grow-pools", "stop-processes"},
	},
	{
		name: "leftover files", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			for _, name := range []string{leftover + "1", hugetlbfs + "/dead guest's file"} {
				s.hold("crashed", file, 20).release()
				s.must(os.Rename(leftover, name))
				s.t.Cleanup(func() { os.Remove(name) })
			}
		},
		kinds: []string{"delete-files"},
	},
	{
		name: "a file in another mount namespace", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.mountsOwn("mount -t hugetlbfs -o pagesize=2M none /mnt && fallocate -l 80M '/mnt/gone by now'")
		},
		kinds: []string{"delete-files"},
	},
	{
		name: "files in a pool that shrank below them", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.hold("crashed", file, 40).release()
			s.t.Cleanup(func() { os.Remove(leftover) })
			s.must(writeInt(poolDir+"/nr_hugepages", 8))
		},
		kinds: []string{"grow-pools"},
	},
	{
		name: "pages that nobody has", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make:      func(s *scene, d domain) { s.hold("hidden", adrift, 40) },
		kinds:     []string{"grow-pools", "reboot"},
		elsewhere: map[string]string{"reboot": inBox},
	},
	{
		name: "a segment", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			h := s.hold("database", sysv, 40)
			s.t.Cleanup(func() { run("ipcrm", "-m", h.segment) })
			h.release()
		},
		kinds: []string{"delete-files"},
	},
	{
		name: "a dead guest's memory", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			guest := hugetlbfs + "/libvirt/qemu/7-gone"
			s.must(os.MkdirAll(guest, 0o755))
			first := s.hold("qemu-of-it", file, 40)
			s.hold("backend", mapped, 40)
			first.release()
			s.must(os.Rename(leftover, guest+"/ram"))
			s.must(os.RemoveAll(guest))
		},
		kinds: []string{"free-dead-guests", "grow-pools", "restart-keepers"},
	},
	{
		name: "its own earlier QEMU", pages: 48, domain: domain{name: "twice", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.starts(d)
			pid := s.qemuPID(d)
			s.t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
			s.must(s.libvirtd.stop())
			for _, name := range []string{".xml", ".pid"} {
				s.must(os.Remove("/run/libvirt/qemu/" + d.name + name))
			}
			s.must(s.startLibvirtd())
		},
		kinds: []string{"end-former"},
	},
	{
		name: "a hook of the site's that is not executable", pages: 20, domain: domain{name: "hooked", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			script := filepath.Join(hookDir, "allocate")
			s.must(os.MkdirAll(hookDir, 0o755))
			s.must(os.WriteFile(script, []byte("#!/bin/sh\ncat >/dev/null\necho 64 >"+poolDir+"/nr_hugepages\n"), 0o644))
			s.t.Cleanup(func() { os.Remove(script) })
		},
		kinds: []string{"enable-hooks", "grow-pools"}, warned: "enable-hooks",
	},
	{
		// That Open vSwitch makes a smaller pool of packets under dpdk-socket-limit is not tried: its memory has to be full
		// of one of 262144 packets first, which are 600 MiB and take a port of DPDK. This tier has 512 MiB.
		name: "Open vSwitch", pages: 256, domain: domain{name: "third", mib: 64, cells: 1},
		make:  func(s *scene, d domain) { s.ovsHolds(ovsVswitchd, 20) },
		kinds: []string{"grow-pools", "shrink-ovs"},
		again: func(s *scene) {
			s.must(eventually(func() error {
				if s.ovs[1].running() {
					return fmt.Errorf("Open vSwitch runs still")
				}
				return nil
			}))
			s.ovs = s.ovs[:1]                          // the database
			_, err := s.startSwitchd(ovsVswitchd, 448) // as the fix told it
			s.must(err)
		},
	},
	{
		name: "no pool", pages: 0, domain: domain{name: "dry", mib: 64, cells: 1},
		make:  func(s *scene, d domain) {},
		kinds: []string{"grow-pools"},
	},
	{
		name: "a pool too small for three cells", pages: 20, domain: domain{name: "threecells", mib: 96, cells: 3},
		make:  func(s *scene, d domain) {},
		kinds: []string{"grow-pools"},
	},
	{
		name: "a pool too small for a device", pages: 20, domain: domain{name: "with-dimm", mib: 64, cells: 1, dimm: 32},
		make:  func(s *scene, d domain) {},
		kinds: []string{"grow-pools"},
	},
	{
		name: "a pool too small, unbound", pages: 20, domain: domain{name: "unbound", mib: 64, cells: 2, soft: true},
		make:  func(s *scene, d domain) {},
		kinds: []string{"grow-pools"},
	},
	{
		name: "a pool that shrank below a process", pages: 64, domain: domain{name: "squeezed", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.hold("packetmover", touched, 40)
			s.must(writeInt(poolDir+"/nr_hugepages", 8))
		},
		kinds: []string{"grow-pools"},
	},
	{
		name: "the mount's limit", pages: 64, domain: domain{name: "limited", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.unmountsMore(d)
			s.must(mount("limited", hugetlbfs, "hugetlbfs", 0, "pagesize=2M,size=60M"))
		},
		kinds: []string{"raise-limits"},
	},
	{
		name: "the mount's limit, and a pool too small", pages: 20, domain: domain{name: "limited", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.unmountsMore(d)
			s.must(mount("limited", hugetlbfs, "hugetlbfs", 0, "pagesize=2M,size=30M"))
		},
		kinds: []string{"grow-pools"},
	},
	{
		name: "a control group's limit", pages: 64, domain: domain{name: "limited", mib: 64, cells: 1},
		make: func(s *scene, d domain) {
			s.must(os.WriteFile(filepath.Join(s.limitedGroup(), "hugetlb.2MB.max"), []byte("60M"), 0))
		},
		kinds: []string{"raise-limits"},
	},
	{
		name: "a size that is odd", pages: 64, domain: domain{name: "odd", mib: 63, cells: 1, source: "memfd"},
		make:  func(s *scene, d domain) {},
		kinds: []string{"change-domain"},
	},
	{
		name: "pages that the kernel does not have", pages: 64, domain: domain{name: "foreign", mib: 64, cells: 1, source: "memfd", page: 16 << 10},
		make:  func(s *scene, d domain) {},
		kinds: []string{"change-domain"},
	},
	{
		name: "memory_backing_dir on hugetlbfs", pages: 20, domain: domain{name: "filed", mib: 64, cells: 1, small: true, source: "file", shared: true},
		make: func(s *scene, d domain) {
			before, err := os.ReadFile(qemuConf)
			s.must(err)
			s.t.Cleanup(func() {
				s.check(os.WriteFile(qemuConf, before, 0o644))
				s.restartLibvirtd()
			})
			s.must(os.WriteFile(qemuConf, fmt.Appendf(before[:len(before):len(before)], "memory_backing_dir = %q\n", hugetlbfs), 0o644))
			s.restartLibvirtd()
		},
		kinds: []string{"grow-pools", "take-ordinary", "move-backing-dir"},
	},
	{
		name: "no mount", pages: 64, domain: domain{name: "mountless", mib: 64, cells: 1}, libvirts: true,
		make: func(s *scene, d domain) {
			s.remounts(d)
			s.must(syscall.Unmount(hugetlbfs, 0))
			s.restartLibvirtd()
		},
		kinds: []string{"mount-pages"},
	},
	{
		name: "no mount, and no pool", pages: 0, domain: domain{name: "mountless", mib: 64, cells: 1}, libvirts: true,
		make: func(s *scene, d domain) {
			s.remounts(d)
			s.must(syscall.Unmount(hugetlbfs, 0))
			s.restartLibvirtd()
		},
		kinds: []string{"mount-pages"},
	},
	{
		name: "no mount where libvirt was told to look", pages: 64, domain: domain{name: "mountless", mib: 64, cells: 1}, libvirts: true,
		make: func(s *scene, d domain) {
			s.remounts(d)
			before, err := os.ReadFile(qemuConf)
			s.must(err)
			s.t.Cleanup(func() { s.check(os.WriteFile(qemuConf, before, 0o644)) }) // before libvirtd starts again
			s.must(syscall.Unmount(hugetlbfs, 0))
			s.must(os.WriteFile(qemuConf, slices.Concat(before, []byte("hugetlbfs_mount = []\n")), 0o644))
			s.restartLibvirtd()
		},
		kinds: []string{"mount-pages"},
	},
	{
		name: "no mount of that size", pages: 600, domain: domain{name: "gigantic", mib: 1024, cells: 1, page: 1 << 20}, libvirts: true,
		make:      func(s *scene, d domain) {},
		kinds:     []string{"change-pages", "mount-pages"},
		elsewhere: map[string]string{"mount-pages": inBox},
	},
	{
		name: "a mount later than the daemon", pages: 64, domain: domain{name: "early", mib: 64, cells: 1}, libvirts: true,
		make: func(s *scene, d domain) {
			s.remounts(d)
			s.must(syscall.Unmount(hugetlbfs, 0))
			s.restartLibvirtd()
			s.must(mount("hugetlbfs", hugetlbfs, "hugetlbfs", 0, "pagesize=2M"))
		},
		kinds: []string{"restart-daemon"},
	},
}

// TestFixes executes each fix that is printed for a shortage, each on that host again, after which the domain starts.
func TestFixes(t *testing.T) {
	for _, c := range shortages {
		for i, kind := range c.kinds {
			t.Run(fmt.Sprintf("%s/%s", c.name, kind), func(t *testing.T) {
				s := begin(t, c.pages)
				s.installGuard()
				d := c.domain
				s.define(d)
				c.make(s, d)
				fixes := s.printed(c, d)
				for range 5 {
					if slices.Equal(kindsOf(fixes), c.kinds) {
						break
					}
					s.must(freeMemory())
					fixes = s.printed(c, d)
				}
				if kinds := kindsOf(fixes); !slices.Equal(kinds, c.kinds) {
					t.Errorf("the fixes are %q, want %q", kinds, c.kinds)
				}
				if reason := cmp.Or(notExecuted[kind], c.elsewhere[kind]); reason != "" || i >= len(fixes) {
					t.Logf("not executed: %s", reason)
					return
				}
				t.Logf("%s\n%s%s", fixes[i].What, strings.Join(fixes[i].Commands, "\n"), strings.Join(fixes[i].Lines, "\n"))
				s.execute(fixes[i], &d)
				if c.again != nil && slices.ContainsFunc(fixes[i].Commands, startsAgain.MatchString) {
					c.again(s)
				}
				s.size = s.pool().total
				if c.warned == kind {
					said := s.startSays(d)
					s.size = s.pool().total // which the hook made
					if len(said) != 1 || said[0].one(t, "HUGEGUARD_DECISION") != "warn" {
						t.Errorf("of a start that another hook may let through the guard said %q", said)
					}
				} else {
					s.starts(d)
				}
				s.virsh("destroy", d.name)
			})
		}
	}
}

// kindsOf are the kinds of fixes, in their order.
func kindsOf(fixes []fix) (kinds []string) {
	for _, f := range fixes {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// freeMemory has free memory, in large pieces, where other programs of this machine have filled it: else other fixes
// are right.
func freeMemory() error {
	return errors.Join(writeInt("/proc/sys/vm/drop_caches", 3), writeInt("/proc/sys/vm/compact_memory", 1))
}

// startsAgain are the commands after which somebody starts a process again.
var startsAgain = regexp.MustCompile(`^(kill|systemctl restart) `)

// TestPoolLasts: what is printed to keep a pool beyond the next boot makes it as large then. The programs that systemd
// runs at a boot do what it does.
func TestPoolLasts(t *testing.T) {
	s := begin(t, 8)
	s.installGuard()
	d := domain{name: "dry", mib: 64, cells: 1}
	s.define(d)
	_, e := s.turnedAway(d)
	fixes := s.askGuard(d).Fixes
	if len(fixes) != 1 || len(fixes[0].Lasting) == 0 {
		t.Fatalf("the fixes are %+v", fixes)
	}
	command := fixes[0].Lasting[0]
	if !strings.Contains(e.one(t, "MESSAGE"), "\n    "+command+"\n") {
		t.Errorf("the journal lacks %q:\n%s", command, e.one(t, "MESSAGE"))
	}
	for _, dir := range []string{"/etc/sysctl.d", "/etc/tmpfiles.d"} {
		s.must(os.MkdirAll(dir, 0o755))
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	_, err := run("/bin/sh", "-c", command)
	s.must(err)
	if got := s.pool().total; got != 8 {
		t.Errorf("it has made the pool %d pages at once", got)
	}
	// The machine's other settings are none of the test's.
	_, err = run("/lib/systemd/systemd-sysctl", "--prefix=vm.nr_hugepages")
	s.must(err)
	if files, _ := filepath.Glob("/etc/tmpfiles.d/*.conf"); files != nil { // a machine with several nodes
		_, err = run(append([]string{"systemd-tmpfiles", "--create", "--boot"}, files...)...)
		s.must(err)
	}
	s.size = 32
	s.starts(d)
	s.virsh("destroy", d.name)
}

// TestEveryFixIsExecuted: each of guard's fixes is, or it is said why not.
func TestEveryFixIsExecuted(t *testing.T) {
	executed := map[string]bool{}
	for _, c := range shortages {
		for _, kind := range c.kinds {
			executed[kind] = executed[kind] || notExecuted[kind] == "" && c.elsewhere[kind] == ""
		}
	}
	for kind := range notExecuted {
		executed[kind] = true
	}
	for _, kind := range executedInBox(t) {
		executed[kind] = true
	}
	kinds := kindsOfFixes(t)
	for _, kind := range kinds {
		if !executed[kind] {
			t.Errorf("no test executes the fix %s", kind)
		}
		delete(executed, kind)
	}
	for kind := range executed {
		t.Errorf("there is no fix %s", kind)
	}
	if len(kinds) < 15 {
		t.Errorf("only %d fixes", len(kinds))
	}
}

// TestEveryProgramIsTuned: the switch of each program that has one is tried, which is PostgreSQL's, or it is said why not.
func TestEveryProgramIsTuned(t *testing.T) {
	source, err := os.ReadFile("../../guard/words/fix_holder.go")
	if err != nil {
		t.Fatal(err)
	}
	programs := regexp.MustCompile(`\{\[\]string\{([^}]*)\}, [^\n]*, tune[A-Z]`).FindAllStringSubmatch(string(source), -1)
	for _, p := range programs {
		reasoned := strings.Contains(p[1], `"postgres"`)
		for name := range notTuned {
			reasoned = reasoned || strings.Contains(p[1], strconv.Quote(name))
		}
		if !reasoned {
			t.Errorf("nothing tries the switch of %s", p[1])
		}
	}
	if len(programs) != len(notTuned)+1 {
		t.Errorf("%d programs, of which %d are not tried", len(programs), len(notTuned))
	}
}

// executedInBox are the kinds of fixes that the two-node machine executes.
func executedInBox(t *testing.T) (kinds []string) {
	source, err := os.ReadFile("../numabox/fixes.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, lack := range regexp.MustCompile(`kinds: +\[\]string\{(.*?)\}(?:, elsewhere: \[\]string\{(.*?)\})?`).FindAllStringSubmatch(string(source), -1) {
		for _, kind := range regexp.MustCompile(`"([a-z-]+)"`).FindAllStringSubmatch(lack[1], -1) {
			if !strings.Contains(lack[2], kind[0]) {
				kinds = append(kinds, kind[1])
			}
		}
	}
	if len(kinds) < 10 {
		t.Errorf("the two-node machine executes only %q", kinds)
	}
	return kinds
}

// kindsOfFixes are the kinds that package fix has.
func kindsOfFixes(t *testing.T) (kinds []string) {
	source, err := os.ReadFile("../../guard/fix/kinds.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range regexp.MustCompile(`\) Kind\(\) string\s*\{ return "([a-z-]+)" \}`).FindAllStringSubmatch(string(source), -1) {
		kinds = append(kinds, kind[1])
	}
	return kinds
}

// printed has the domain refused and returns the fixes that are printed: to the journal as to those who ask beforehand.
func (s *scene) printed(c shortage, d domain) []fix {
	s.t.Helper()
	if c.libvirts {
		if _, _, err := s.start(d); err == nil {
			s.t.Fatalf("%s was started", d.name)
		}
		return s.askGuard(d).Fixes
	}
	_, e := s.turnedAway(d)
	message := e.one(s.t, "MESSAGE")
	fixes := s.askGuard(d).Fixes
	for _, f := range fixes {
		for _, line := range slices.Concat(f.Commands, f.Lines) {
			if !strings.Contains(message, "\n  "+line+"\n") && !strings.HasSuffix(message, "\n  "+line) {
				s.t.Errorf("the journal lacks the fix %q:\n%s", line, message)
			}
		}
	}
	return fixes
}

// execute does what a fix says: to the domain and the configuration what its lines say, then its commands as root's
// shell does, in a system without systemd that of libvirt's and of the holders' units.
func (s *scene) execute(f fix, d *domain) {
	s.t.Helper()
	for _, line := range f.Lines {
		s.change(d, line)
	}
	for _, command := range f.Commands {
		if words := strings.Fields(command); words[0] == "systemctl" {
			s.systemctl(words[1], words[2])
			continue
		}
		_, err := run("/bin/sh", "-c", command)
		s.must(err)
	}
	s.define(*d)
}

// systemctl is systemd's for the units that there are.
func (s *scene) systemctl(verb, unit string) {
	s.t.Helper()
	if strings.HasPrefix(unit, "libvirtd") && verb == "restart" {
		s.restartLibvirtd()
		return
	}
	procs, err := os.ReadFile(filepath.Join(cgroup2(s.t), unit, "cgroup.procs"))
	s.must(err)
	if verb != "stop" && verb != "restart" || len(procs) == 0 {
		s.t.Fatalf("systemctl %s %s: nothing to do", verb, unit)
	}
	var pids []int
	for _, pid := range strings.Fields(string(procs)) {
		n, err := strconv.Atoi(pid)
		s.must(err)
		pids = append(pids, n)
	}
	s.must(syscall.Kill(slices.Min(pids), syscall.SIGTERM)) // the main process, which ends the others
	s.must(eventually(func() error {
		if left, _ := os.ReadFile(filepath.Join(cgroup2(s.t), unit, "cgroup.procs")); len(left) > 0 {
			return fmt.Errorf("%s has %q", unit, left)
		}
		return nil
	}))
}

// change does to a domain what a line of a fix says.
func (s *scene) change(d *domain, line string) {
	s.t.Helper()
	if resize := regexp.MustCompile(`^make ram-node0 (\d+) MiB$`).FindStringSubmatch(line); resize != nil {
		mib, err := strconv.Atoi(resize[1])
		s.must(err)
		d.mib = mib
		return
	}
	if regexp.MustCompile(`^give ram-node0 2M (or \S+ )*pages\b`).MatchString(line) {
		d.page = 0
		return
	}
	if strings.HasPrefix(line, "<source type='memfd'/> in memoryBacking") {
		d.source = "memfd"
		return
	}
	if elsewhere := regexp.MustCompile(`^in the mount namespace of pid (\d+)\b.*, by who manages it: (.*)$`).FindStringSubmatch(line); elsewhere != nil {
		_, err := run("nsenter", "-t", elsewhere[1], "-m", "sh", "-c", "rm "+elsewhere[2]) // which the test itself manages
		s.must(err)
		return
	}
	if strings.HasPrefix(line, "hugetlbfs_mount = ") {
		conf, err := os.ReadFile(qemuConf)
		s.must(err)
		changed := regexp.MustCompile(`(?m)^hugetlbfs_mount = .*$`).ReplaceAllLiteralString(string(conf), line)
		s.must(os.WriteFile(qemuConf, []byte(changed), 0o644))
		return
	}
	s.t.Fatalf("no test can do what the line %q says", line)
}

// mountsOwn runs a script of the shell in a mount namespace of its own, in which a process stays.
func (s *scene) mountsOwn(script string) {
	s.t.Helper()
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script+" && echo ready && read end")
	cmd.Env, cmd.Stderr = cleanEnv(), os.Stderr
	out, err := cmd.StdoutPipe()
	s.must(err)
	stdin, err := cmd.StdinPipe()
	s.must(err)
	s.must(cmd.Start())
	s.t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.t.Fatalf("the process with its own mounts says %q (%v)", line, err)
	}
}

func (s *scene) restartLibvirtd() {
	s.t.Helper()
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd())
}

// unmountsMore takes away, when the test ends, the mounts that were put over that of the huge pages.
func (s *scene) unmountsMore(d domain) {
	s.t.Cleanup(func() {
		virsh("destroy", d.name)
		for len(hugetlbMounts()) > 1 {
			s.check(eventually(func() error { return syscall.Unmount(hugetlbfs, 0) }))
		}
	})
}

// remounts has the huge pages mounted as before when the test ends, and libvirtd know of it.
func (s *scene) remounts(d domain) {
	s.t.Cleanup(func() {
		virsh("destroy", d.name)
		mounts, err := os.ReadFile("/proc/mounts")
		s.check(err)
		for _, line := range strings.Split(string(mounts), "\n") {
			if words := strings.Fields(line); len(words) > 2 && words[2] == "hugetlbfs" {
				s.check(eventually(func() error { return syscall.Unmount(words[1], 0) }))
			}
		}
		s.check(mount("hugetlbfs", hugetlbfs, "hugetlbfs", 0, "pagesize=2M"))
		s.restartLibvirtd()
	})
}
