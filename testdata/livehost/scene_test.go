package livehost

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"hugeguard/hook/ledger"
)

// scene is the host as one test sees it: an idle pool at first, and swept afterwards.
type scene struct {
	*host
	t    *testing.T
	size int // of the pool
	old  int // journal entries of the guard's from before the test

	launched map[string]int // see launches
	hungs    []*hung        // file systems that do not answer
}

// begin gives the test an idle pool of that many pages and a host without domains and without the
// guard. When the test ends everything has to be as it was: whatever is left behind fails it.
func begin(t *testing.T, pages int) *scene {
	t.Helper()
	s := &scene{host: live, t: t, launched: map[string]int{}}
	if !s.libvirtd.running() {
		t.Fatalf("libvirtd does not run: %v", s.libvirtd.cmd.ProcessState)
	}
	s.setPool(pages)
	s.configure("")
	s.must(os.WriteFile(s.spawned, nil, 0o644))
	s.old = len(s.guardEntries())
	libvirtPID := s.libvirtd.pid()
	t.Cleanup(func() {
		if t.Failed() {
			var logs bytes.Buffer
			s.dumpLogs(&logs)
			t.Logf("the host's logs:\n%s", logs.String())
		}
		if !s.libvirtd.running() {
			t.Errorf("libvirtd (pid %d when the test began) ended: %v", libvirtPID, s.libvirtd.cmd.ProcessState)
			s.must(s.startLibvirtd())
		}
		out, err := virsh("list", "--all", "--name")
		s.check(err)
		for _, name := range strings.Split(strings.TrimSpace(out), "\n") {
			if name == "" {
				continue
			}
			// The name of one looks like an option.
			virsh("destroy", "--domain", name)
			_, err := virsh("undefine", "--managed-save", "--domain", name)
			s.check(err)
		}
		s.check(s.stopOVS())
		os.Remove("/" + ledger.ToldPath) // kept until the next boot
		s.check(s.noTraces())
		logs, _ := filepath.Glob("/var/log/libvirt/qemu/*")
		for _, log := range append(logs, s.path("ovs-vswitchd.log"), s.path(daemonName+".log")) {
			os.Truncate(log, 0)
		}
	})
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Error(err)
	}
}

// noTraces reports what domains left behind: the pool should be idle, with no file, no claim and no
// process of theirs.
func (s *scene) noTraces() error {
	if err := eventually(func() error {
		got, err := readPool()
		if want := (pool{total: s.size, free: s.size}); err == nil && got != want {
			err = fmt.Errorf("the pool is %+v, want %+v", got, want)
		}
		return err
	}); err != nil {
		return err
	}
	var errs []error
	if pids := processes(emulator); len(pids) > 0 {
		errs = append(errs, fmt.Errorf("QEMU processes %v still run", pids))
	}
	for _, dir := range []string{hugetlbfs, "/run/hugeguard"} {
		filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && name != "/"+ledger.ToldPath {
				errs = append(errs, fmt.Errorf("%s was left behind", name))
			}
			return nil
		})
	}
	return errors.Join(errs...)
}

// setPool changes the size of the pool, which has to be idle.
func (s *scene) setPool(pages int) {
	s.t.Helper()
	s.must(setPool(pages))
	s.size = pages
}

func (s *scene) pool() pool {
	s.t.Helper()
	p, err := readPool()
	s.must(err)
	return p
}

func (s *scene) virsh(args ...string) string {
	s.t.Helper()
	out, err := virsh(args...)
	s.must(err)
	return out
}

// domain is a domain as the tests need them: all of its RAM on 2 MiB pages, bound to node 0.
type domain struct {
	name   string
	mib    int
	cells  int    // guest NUMA cells, each of mib/cells; 0 for none
	source string // of memoryBacking; "" for libvirt's default
	shared bool
	mode   string // of numatune; "" for strict
	soft   bool   // without numatune
	small  bool   // without huge pages, nor numatune
	dimm   int    // MiB of a memory device in cell 0, beside mib
	vhost  string // the socket of a vhost-user interface
	page   int    // KiB of its pages; 0 for 2048

	emulator string // "" for the wrapper
}

// uuid is the name's own.
func (d domain) uuid() string {
	h := fnv.New64a()
	h.Write([]byte(d.name))
	return fmt.Sprintf("6a9c0000-0000-4000-8000-%012x", h.Sum64()>>16)
}

func (d domain) xml() string {
	var backing, numa, tune strings.Builder
	if d.source != "" {
		fmt.Fprintf(&backing, "<source type='%s'/>", d.source)
	}
	if d.shared {
		backing.WriteString("<access mode='shared'/>")
	}
	mode := cmp.Or(d.mode, "strict")
	if !d.soft {
		fmt.Fprintf(&tune, "<memory mode='%s' nodeset='0'/>", mode)
	}
	for i := range d.cells {
		fmt.Fprintf(&numa, "<cell id='%d' cpus='%d' memory='%d' unit='MiB'/>", i, i, d.mib/d.cells)
		if !d.soft {
			fmt.Fprintf(&tune, "<memnode cellid='%d' mode='%s' nodeset='0'/>", i, mode)
		}
	}
	if d.small {
		tune.Reset()
	} else {
		fmt.Fprintf(&backing, "<hugepages><page size='%d' unit='KiB'/></hugepages>", cmp.Or(d.page, 2048))
	}
	cpu := ""
	if d.cells > 0 {
		cpu = "<cpu><numa>" + numa.String() + "</numa></cpu>"
	}
	if tune.Len() > 0 {
		cpu += "<numatune>" + tune.String() + "</numatune>"
	}
	most, device := "", ""
	if d.dimm > 0 {
		most = "<maxMemory slots='1' unit='GiB'>1</maxMemory><features><acpi/></features>"
		device = fmt.Sprintf("<memory model='dimm'><target><size unit='MiB'>%d</size><node>0</node></target></memory>", d.dimm)
	}
	if d.vhost != "" {
		device += fmt.Sprintf("<interface type='vhostuser'><source type='unix' path='%s' mode='server'/><model type='virtio'/></interface>", d.vhost)
	}
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <uuid>%s</uuid>
  %s
  <memory unit='MiB'>%d</memory>
  <memoryBacking>%s</memoryBacking>
  <vcpu>%d</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  %s
  <devices>
    <emulator>%s</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    %s
  </devices>
</domain>
`, escapeXML(d.name), d.uuid(), most, d.mib+d.dimm, backing.String(), max(d.cells, 1), cpu, cmp.Or(d.emulator, live.wrapper), device)
}

func escapeXML(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func (s *scene) define(d domain) {
	s.t.Helper()
	file := s.path("domain.xml")
	s.must(os.WriteFile(file, []byte(d.xml()), 0o644))
	s.virsh("define", file)
}

// start starts the domain paused, as an admin would by hand, and returns what that printed on stdout.
func (s *scene) start(d domain) (out string, took time.Duration, err error) {
	began := time.Now()
	out, err = run("virsh", "-c", "qemu:///system", "start", "--paused", d.name)
	return out, time.Since(began), err
}

// qemuPID is the pid that libvirt has for the running domain.
func (s *scene) qemuPID(d domain) int {
	s.t.Helper()
	pid, err := readInt("/run/libvirt/qemu/" + d.name + ".pid")
	s.must(err)
	return pid
}

// launches says how often QEMU was executed for the domain since this was last asked: the wrapper that
// all domains name as their emulator writes down every execution.
func (s *scene) launches(d domain) int {
	s.t.Helper()
	b, err := os.ReadFile(s.spawned)
	s.must(err)
	n := strings.Count(string(b), "guest="+strings.ReplaceAll(d.name, ",", ",,")+",debug")
	n, s.launched[d.name] = n-s.launched[d.name], n
	return n
}

// ovsHolds runs Open vSwitch until it holds all but about rest pages of the pool, and returns its
// process.
func (s *scene) ovsHolds(program string, rest int) *daemon {
	s.t.Helper()
	ovs, err := s.startOVS(program, (s.pool().total-rest)*2)
	s.must(err)
	return ovs
}

// refused starts the domain, which the guard must refuse with no QEMU run, and returns the line that
// libvirt passed on from it and its one journal entry.
func (s *scene) refused(d domain) (line string, e entry) {
	s.t.Helper()
	line, e = s.turnedAway(d)
	e.want(s.t, map[string]string{
		"HUGEGUARD_PAGE_KIB": "2048",
		"HUGEGUARD_FREE":     itoa(s.pool().free),
		"HUGEGUARD_TOTAL":    itoa(s.pool().total),
	})
	if !d.soft && d.cells < 2 {
		e.want(s.t, map[string]string{"HUGEGUARD_NODE": "0", "HUGEGUARD_NEEDED": itoa((d.mib + d.dimm) / 2)})
	}
	return line, e
}

// turnedAway is refused where it is not for want of the pool's pages.
func (s *scene) turnedAway(d domain) (line string, e entry) {
	s.t.Helper()
	before := s.guardEntries()
	s.launches(d)
	_, took, err := s.start(d)
	if err == nil {
		s.t.Fatalf("%s was started, with the pool at %+v", d.name, s.pool())
	}
	s.t.Logf("refused in %v: %v", took.Round(time.Millisecond), err)
	_, line, ok := strings.Cut(err.Error(), "unexpected exit status 1: ")
	if !ok || !strings.Contains(err.Error(), "Hook script execution failed") {
		s.t.Fatalf("start: %v; want the hook's refusal", err)
	}
	if strings.ContainsAny(line, "\n\x1b") {
		s.t.Errorf("the refusal is not one plain line: %q", line)
	}
	if n := s.launches(d); n != 0 {
		s.t.Errorf("QEMU was run %d times for the refused domain", n)
	}
	entries := s.guardEntries()[len(before):]
	if len(entries) != 1 {
		s.t.Fatalf("the refusal made %d journal entries, want 1: %q", len(entries), entries)
	}
	e = entries[0]
	e.want(s.t, map[string]string{
		"PRIORITY":           "3",
		"HUGEGUARD_DECISION": "refuse",
		"HUGEGUARD_DOMAIN":   d.name,
		"HUGEGUARD_UUID":     d.uuid(),
		"_UID":               "0",
	})
	if first, _, _ := strings.Cut(e.one(s.t, "MESSAGE"), "\n"); first != line {
		s.t.Errorf("the journal says\n%s\nvirsh\n%s", first, line)
	}
	if id := e.one(s.t, "MESSAGE_ID"); len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		s.t.Errorf("MESSAGE_ID=%s", id)
	}
	// The admin's command says beforehand what the hook will do.
	if r := s.askGuard(d); r.Decision != "refuse" || r.Summary != line || r.Cause != e.one(s.t, "HUGEGUARD_CAUSE") {
		s.t.Errorf("check says %s (%s): %s", r.Decision, r.Cause, r.Summary)
	}
	return line, e
}

// starts starts the domain, of which the guard must have nothing to say.
func (s *scene) starts(d domain) {
	s.t.Helper()
	if entries := s.startSays(d); len(entries) > 0 {
		s.t.Errorf("the start made journal entries: %q", entries)
	}
}

// startSays starts the domain, and returns what the guard said of it.
func (s *scene) startSays(d domain) []entry {
	s.t.Helper()
	before := len(s.guardEntries())
	s.launches(d)
	out, took, err := s.start(d)
	s.must(err)
	s.t.Logf("started in %v", took.Round(time.Millisecond))
	if want := fmt.Sprintf("Domain '%s' started\n\n", d.name); out != want {
		s.t.Errorf("virsh said %q, want %q", out, want)
	}
	if n := s.launches(d); n != 1 {
		s.t.Errorf("QEMU was run %d times", n)
	}
	return s.guardEntries()[before:]
}

// installGuard puts the hook in place and makes the running daemon notice.
func (s *scene) installGuard(args ...string) {
	s.t.Helper()
	s.must(s.build())
	s.must(s.tells(append([]string{"install", "--hook", s.hook}, args...)...))
	s.t.Cleanup(func() { s.uninstallGuard() })
}

func (s *scene) uninstallGuard() {
	s.t.Helper()
	s.check(s.tells("uninstall"))
}

// tells runs the admin's command, and returns when libvirtd has looked for hooks if it was told to: it does that in a
// thread of its own, and could still be about it when it is told the next.
func (s *scene) tells(args ...string) error {
	before := s.looked()
	out, err := run(append([]string{s.cli}, args...)...)
	if err != nil || !strings.Contains(out, "send SIGHUP to "+daemonName) {
		return err
	}
	return s.eventuallyLooked(before)
}

// looked is how often libvirtd has looked for hooks: for those of its last driver, of which there are none.
func (s *scene) looked() int {
	log, _ := os.ReadFile(s.hooksLog)
	return strings.Count(string(log), "/etc/libvirt/hooks/bhyve.d")
}

// eventuallyLooked returns when it has once more.
func (s *scene) eventuallyLooked(before int) error {
	return eventually(func() error {
		if s.looked() == before {
			return errors.New(daemonName + " has not looked for hooks")
		}
		return nil
	})
}

// died says whether QEMU ended with these words, by the error of a start or by its log: libvirt has the former
// only if it was quicker.
func (s *scene) died(d domain, err error, words string) bool {
	log, _ := os.ReadFile("/var/log/libvirt/qemu/" + d.name + ".log")
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return err != nil && strings.Contains(err.Error()+strings.Join(lines[max(0, len(lines)-3):], "\n"), words)
}

// configuration is where the guard's is.
const configuration = "/etc/hugeguard.conf"

// configure writes the guard's configuration. What else uses this machine is to decide nothing: unless a test is about
// the deadline it is as late as it can be.
func (s *scene) configure(lines string) {
	s.t.Helper()
	if !strings.Contains(lines, "deadline = ") {
		lines += "\ndeadline = 1m"
	}
	s.must(os.WriteFile(configuration, []byte(lines+"\n"), 0o644))
	s.t.Cleanup(func() { os.Remove(configuration) })
}

// guardEntries are the journal's entries by hugeguard since the test began.
func (s *scene) guardEntries() []entry {
	s.t.Helper()
	entries, err := readJournal("SYSLOG_IDENTIFIER=hugeguard")
	s.must(err)
	return entries[s.old:]
}

// checkReport is what the tests read of check --json.
type checkReport struct {
	Decision  string `json:"decision"`
	Cause     string `json:"cause"`
	RefusedBy string `json:"refused_by"`
	Summary   string `json:"summary"`
	Demand    []struct {
		Backend string `json:"backend"`
		PageKiB int    `json:"page_kib"`
		Pages   int    `json:"pages"`
	} `json:"demand"`
	Fixes []fix `json:"fixes"`
}

func (r checkReport) pages() (n int) {
	for _, d := range r.Demand {
		n += d.Pages
	}
	return n
}

// askGuard asks the admin's command about the domain.
func (s *scene) askGuard(d domain) checkReport {
	s.t.Helper()
	s.must(s.build())
	file := s.path("check.xml")
	s.must(os.WriteFile(file, []byte(s.virsh("dumpxml", "--inactive", d.name)), 0o644))
	out, err := run(s.cli, "check", "--json", file)
	var ran *runError
	if err != nil && !(errors.As(err, &ran) && exitStatus(ran.err) == 3) {
		s.t.Error(err)
		return checkReport{}
	}
	var report checkReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		s.t.Errorf("check --json: %v\n%s", err, out)
	}
	return report
}

func exitStatus(err error) int {
	var status interface{ ExitCode() int }
	if errors.As(err, &status) {
		return status.ExitCode()
	}
	return 0
}

func itoa(n int) string { return strconv.Itoa(n) }
