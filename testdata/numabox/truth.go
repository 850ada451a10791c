package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/testdata/vm"
	"hugeguard/testdata/vm/wire"
)

// qemuWords tells the classes of failures by what QEMU or libvirt says, the first that matches.
var qemuWords = []struct {
	outcome outcome
	words   *regexp.Regexp
}{
	{atMmap, regexp.MustCompile(`unable to map backing store for guest RAM: Cannot allocate memory`)},
	{atTouch, regexp.MustCompile(`preallocating memory failed: Bad address|Insufficient free host memory pages available to allocate guest RAM`)},
	{atBind, regexp.MustCompile(`cannot bind memory to host NUMA nodes`)},
	{noCPUs, regexp.MustCompile(`The nodes select no CPUs|Setting CPU affinity failed`)},
	{badSize, regexp.MustCompile(`must be equal to or larger than page size|failed to resize memfd|size must be multiple of|size property must be multiple`)},
	{noPage, regexp.MustCompile(`failed to create memfd|unable to create memfd|hugetlbsize`)},
	{libvirt, regexp.MustCompile(`Memory backend 'pc.ram' not found`)}, // it made none, and did not say why
	{libvirt, regexp.MustCompile(`^(?s:error: [^\n]*\n)?error: (unsupported configuration|operation failed|cannot set CPU affinity|internal error: (Unable to find any usable hugetlbfs|hugetlbfs)|.*NUMA node \S+ is unavailable)`)},
}

// classify returns what became of a launch; "" for words that it does not know.
func classify(started bool, words string) outcome {
	if started {
		return starts
	}
	for _, w := range qemuWords {
		if w.words.MatchString(words) {
			return w.outcome
		}
	}
	return ""
}

// forWantOfPages says whether it is what the guard is there for.
func (o outcome) forWantOfPages() bool { return o == atMmap || o == atTouch }

// A verdict is what the guard says, as far as it counts here.
type verdict struct {
	Decision string `json:"decision"`
	Cause    string `json:"cause"`
	Summary  string `json:"summary"`
	// RefusedBy is who will refuse the start: "hugeguard", "libvirt", or "" for nobody.
	RefusedBy string `json:"refused_by"`
}

// A truth is what a scenario showed. It goes into truth.json.
type truth struct {
	Scenario string  `json:"scenario"`
	Kernel   string  `json:"kernel"`
	Libvirt  string  `json:"libvirt"`
	QEMU     string  `json:"qemu"`
	Started  bool    `json:"started"`
	Outcome  outcome `json:"outcome"`
	Race     bool    `json:"race,omitempty"` // of several plays it started in some
	Error    string  `json:"error"`
	HugePage bool    `json:"huge_page_failure"`
	Decision string  `json:"decision"`
	Cause    string  `json:"cause"`
	Summary  string  `json:"summary"`
	Known    string  `json:"known,omitempty"`
	Seconds  float64 `json:"start_seconds"`
}

const (
	hookFile  = "/etc/libvirt/hooks/qemu.d/zz-hugeguard" // after the recorder: it is to judge last
	hookAway  = "/etc/libvirt/qemu.away"                 // where libvirt does not look
	recorder  = "/etc/libvirt/hooks/qemu.d/10-record"
	recorded  = "/run/prepare.xml"
	domainXML = "/run/domain.xml"
	testpmd   = "/opt/numabox/dpdk-testpmd" // the agent under another name
)

// recorderScript keeps the XML of the last prepare. AppArmor lets it run nothing, so the shell does it all.
const recorderScript = `#!/bin/sh
[ "$2" = prepare ] || exit 0
while IFS= read -r line; do printf '%s\n' "$line"; done >` + recorded + "\n"

// truthTable plays the scenarios with the guard away and asks the guard about the same state.
func (b *box) truthTable(c *vm.Checks, o options) error {
	chosen := playable(b.Image, o.scenarios())
	vm.Say("the truth table: %d scenarios", len(chosen))
	var table []truth
	err := b.Again(func() error {
		if err := b.prepareTable(c); err != nil {
			return err
		}
		for i := len(table); i < len(chosen); i++ {
			s := chosen[i]
			t, err := b.play(c, s, o)
			if errors.Is(err, vm.ErrDown) || b.Context.Err() != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if err != nil {
				// The others can be told all the same.
				c.That(false, s.name+" could be played", err)
				t.Outcome = unplayed
			}
			note := ""
			if t.Known != "" {
				note = " (known: " + t.Known + ")"
			}
			vm.Say("  %3d/%d %-32s %-8s %-6s %.0f s%s", i+1, len(chosen), s.name, t.Outcome, t.Decision, t.Seconds, note)
			table = append(table, t)
		}
		return b.Denials(c)
	})
	if err != nil {
		return err
	}
	confusion(c, table)
	if o.played == "" {
		return nil
	}
	return writeFile(filepath.Join(o.played, o.suite.Name+".tsv"), (&played{b.Image.Version(vm.OVS), table}).text())
}

// prepareTable installs the guard where libvirt does not look, and beside it a hook that keeps what hooks get.
func (b *box) prepareTable(c *vm.Checks) error {
	if err := b.prepare(c); err != nil {
		return err
	}
	if _, err := b.Sh(`mkdir -p /usr/lib/hugeguard /etc/libvirt/hooks/qemu.d
cp /opt/numabox/usr/bin/hugeguard /usr/bin; cp /opt/numabox/usr/lib/hugeguard/qemu /usr/lib/hugeguard
hugeguard install --layout drop-in; mv ` + hookFile + " " + hookAway); err != nil {
		return err
	}
	if err := b.Write(wire.File{Path: recorder, Data: recorderScript}); err != nil {
		return err
	}
	_, err := b.Sh("chmod 0755 " + recorder + "; systemctl restart libvirtd")
	return err
}

func (b *box) newTruth(scenario string) truth {
	return truth{Scenario: scenario, Kernel: b.Image.Version(vm.Kernel), Libvirt: b.Image.Version(vm.Libvirt),
		QEMU: b.Image.Version(vm.QEMU)}
}

// play plays one scenario.
func (b *box) play(c *vm.Checks, s scenario, o options) (t truth, err error) {
	t = b.newTruth(s.name)
	t.Known = s.known
	s.want = s.expected(b.Image)
	undo, err := b.arrange(s)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, undo()) }()
	if s.later != "" {
		if _, err := b.Sh(s.later); err != nil {
			return t, err
		}
	}
	before, err := b.counters()
	if err != nil {
		return t, err
	}
	packed, err := b.pack()
	if err != nil {
		return t, err
	}

	// Without the guard: what really becomes of it, more than once where that may differ.
	if err := b.Write(wire.File{Path: recorded}, wire.File{Path: domainXML, Data: s.guest.xml(s.name)}); err != nil {
		return t, err
	}
	for play := range max(s.plays, 1) {
		began := time.Now()
		outcome, words, err := b.launch(s)
		if err != nil {
			return t, err
		}
		c.Quietly(slices.Contains(s.want, outcome), fmt.Sprintf("%s: the launch was to end as %q and ended as %q", s.name, s.want, outcome), words)
		if play == 0 {
			t.Seconds = time.Since(began).Seconds()
			t.Outcome, t.Error = outcome, words
		} else if (outcome == starts) != (t.Outcome == starts) {
			t.Race = true
		}
		if err := b.settle(s, before); err != nil {
			return t, err
		}
	}
	t.Started = t.Outcome == starts
	t.HugePage = t.Outcome.forWantOfPages()
	files, err := b.Read(recorded)
	if err != nil {
		return t, err
	}
	xml := files[recorded]
	if xml == "" {
		return t, fmt.Errorf("the launch did not come to prepare: %s", t.Error)
	}

	// The same state, asked: the command, the hook itself, and through libvirt where it refuses.
	ask := fmt.Sprintf(`hugeguard check --json %s && status=0 || status=$?; echo $status
if [ $status = 3 ]; then mv %s %s; virsh -q %s 2>&1 || true; mv %[3]s %[2]s
else %[2]s %[5]s prepare begin - <%[1]s 2>&1; %[2]s %[5]s release end - </dev/null 2>&1; fi`, recorded, hookAway, hookFile, s.start(), s.name)
	said, err := b.Sh(ask)
	if err != nil {
		return t, err
	}
	lines := strings.SplitN(said, "\n", 3)
	var v verdict
	if err := json.Unmarshal([]byte(lines[0]), &v); err != nil || len(lines) < 3 {
		return t, fmt.Errorf("hugeguard check said %q", said)
	}
	t.Decision, t.Cause, t.Summary = v.Decision, v.Cause, v.Summary
	if want := causes[s.name]; want != "" {
		c.Quietly(v.Cause == want, fmt.Sprintf("%s: the cause is %s", s.name, want), v.Decision, v.Cause, v.Summary)
	}
	c.Quietly(v.RefusedBy != "libvirt" || t.Outcome == libvirt, s.name+": hugeguard check says that libvirt refuses it, and it does", t.Error)
	// On which CPUs libvirt can put QEMU is not judged for itself.
	c.Quietly(t.Outcome != libvirt || v.RefusedBy != "" || strings.Contains(t.Error, "cannot set CPU affinity"),
		s.name+": libvirt refuses it, and hugeguard check says so", t.Error)
	switch {
	case v.Decision == "refuse":
		entries, err := b.refusal(s.name)
		if err != nil {
			return t, err
		}
		c.Quietly(strings.Contains(lines[2], "unexpected exit status 1: "+v.Summary), s.name+": libvirt's error has the summary of hugeguard check", v.Summary, lines[2], entries)
		c.Quietly(len(entries) == 1 && entries[0]["HUGEGUARD_CAUSE"] == v.Cause && entries[0]["MESSAGE_ID"] != "" &&
			strings.HasPrefix(entries[0]["MESSAGE"]+"\n", v.Summary+"\n"), s.name+": the journal has the same cause and summary", v.Cause, v.Summary, entries)
	case v.RefusedBy == "libvirt":
		c.Quietly(lines[2] != "" && !strings.Contains(lines[2], "Hook script"), s.name+": libvirt refuses it, and not the hook", lines[2])
	default:
		c.Quietly(lines[2] == "", s.name+": the hook has nothing to say on standard error", lines[2])
	}
	if err := b.settle(s, before); err != nil {
		return t, err
	}
	return t, b.replay(c, t, packed, xml, o)
}

// refusal returns the last entry about a guest, once journald has written it.
func (b *box) refusal(name string) ([]vm.JournalEntry, error) {
	last := []string{"HUGEGUARD_DOMAIN=" + name, "-n", "1"}
	if entries, err := b.Journal(last...); err != nil || len(entries) > 0 {
		return entries, err
	}
	if _, err := b.Must("journalctl", "--sync"); err != nil {
		return nil, err
	}
	return b.Journal(last...)
}

// replay asks again on the captured host, on this machine, and keeps the capture where that is wanted.
func (b *box) replay(c *vm.Checks, t truth, packed []byte, xml string, o options) error {
	captured, err := newCapture(packed, xml, t)
	if err != nil {
		return err
	}
	dir := b.Path("capture")
	defer os.RemoveAll(dir)
	if err := captured.folder(dir); err != nil {
		return err
	}
	if err := o.keep(t.Scenario, captured); err != nil {
		return err
	}
	cmd := exec.CommandContext(b.Context, b.command, "check", "--root", filepath.Join(dir, "host"), "--json", filepath.Join(dir, "prepare.xml"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	var v verdict
	if err := json.Unmarshal(out, &v); err != nil {
		return fmt.Errorf("hugeguard check --root: %w: %s", err, stderr.Bytes())
	}
	c.Quietly(v.Decision == t.Decision && v.Cause == t.Cause, fmt.Sprintf("%s: the captured host gives the same verdict, %s %s", t.Scenario, t.Decision, t.Cause), v.Decision, v.Cause, v.Summary)
	return nil
}

// arrange brings the box into the scenario's state and returns how to leave it.
func (b *box) arrange(s scenario) (undo func() error, err error) {
	var steps []func() error
	undo = func() error {
		var errs []error
		for _, step := range slices.Backward(steps) {
			errs = append(errs, step())
		}
		return errors.Join(errs...)
	}
	fail := func(err error) (func() error, error) { return nil, errors.Join(err, undo()) }
	held, leave, err := b.bring(s)
	steps = append(steps, leave)
	if err != nil {
		return fail(err)
	}
	if err := b.SetPools(2048, sum(s.pools, held)); err != nil {
		return fail(err)
	}
	if err := b.setOvercommit(s.overcommit); err != nil {
		return fail(err)
	}
	if s.setup != "" {
		if _, err := b.Sh(s.setup); err != nil {
			return fail(err)
		}
		if s.reset != "" {
			steps = append(steps, func() error { _, err := b.Sh(s.reset); return err })
		}
	}
	for _, h := range s.holders {
		args := []string{testpmd, "hold", "-node", strconv.Itoa(h.node), "-pages", strconv.Itoa(h.pages), "-touch", strconv.Itoa(h.touch)}
		if h.giant {
			args = append(args, "-kib", "1048576")
		}
		if h.how != "" {
			args = append(args, "-"+h.how)
		}
		if h.file != "" {
			name := "/dev/hugepages/" + h.file
			args = append(args, "-file", name, "-leave")
			steps = append(steps, func() error { _, err := b.Must("rm", name); return err })
			if _, err := b.Must(args...); err != nil {
				return fail(err)
			}
			continue
		}
		stop, err := b.Hold(args)
		if err != nil {
			return fail(err)
		}
		steps = append(steps, stop)
	}
	if s.beside != nil {
		if err := b.Write(wire.File{Path: domainXML, Data: s.beside.xml("beside")}); err != nil {
			return fail(err)
		}
		if _, err := b.Must("virsh", "-q", "create", "--paused", domainXML); err != nil {
			return fail(err)
		}
		steps = append(steps, func() error { _, err := b.Must("virsh", "-q", "destroy", "beside"); return err })
	}
	return undo, nil
}

const overcommitFile = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages"

func (b *box) setOvercommit(pages int) error {
	return b.Write(wire.File{Path: overcommitFile, Data: strconv.Itoa(pages)})
}

// counters returns all of the kernel's numbers about huge pages.
func (b *box) counters() (map[string]string, error) {
	return b.Read("/sys/devices/system/node/node*/hugepages/*/*_hugepages", "/sys/kernel/mm/hugepages/*/*_hugepages")
}

// settle waits until the counters are what they were: pages come back when the process that had them is gone. A
// surplus page that a launch made and nobody had use for stays; making it one of the pool's and taking it from
// there ends it. A guest whose memory is moved when libvirt narrows the cpuset of its threads (restrictive memnode,
// libvirt 11) leaves the pools on the nodes that it was moved to.
func (b *box) settle(s scenario, want map[string]string) error {
	if s.way == migrated {
		if err := b.returns(s); err != nil {
			return err
		}
	}
	const pages = 5 * time.Second // that it takes them to come back
	began := time.Now()
	for absorbed := false; ; {
		got, err := b.counters()
		if err != nil {
			return err
		}
		var differ []string
		for name, value := range want {
			if got[name] != value {
				differ = append(differ, fmt.Sprintf("%s is %s, was %s", name, strings.TrimSpace(got[name]), strings.TrimSpace(value)))
			}
		}
		switch {
		case differ == nil:
			return nil
		case time.Since(began) > vm.Patience:
			slices.Sort(differ)
			return fmt.Errorf("the launch changed the host for good: %s", strings.Join(differ, "; "))
		case !absorbed && s.way != migrated && time.Since(began) > pages:
			_, total, err := b.Pools(2048)
			if err != nil {
				return err
			}
			// While the page is on its way the kernel makes other pools of it.
			absorbed = errors.Join(b.SetPools(2048, total), b.SetPools(2048, s.pools)) == nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

var decisions = []string{"allow", "warn", "refuse"}

// classes are the rows of the table: what may become of a launch, and the decisions that are wrong then.
var classes = []struct {
	name string
	is   func(truth) bool
	bad  []string
}{
	{"started", func(t truth) bool { return t.Outcome == starts && !t.Race }, []string{"refuse"}},
	{"failed for want of pages", func(t truth) bool { return t.Outcome.forWantOfPages() && !t.Race }, []string{"allow"}},
	{"failed in QEMU otherwise", func(t truth) bool {
		return t.Outcome != starts && t.Outcome != libvirt && t.Outcome != unplayed && !t.Outcome.forWantOfPages() && !t.Race
	}, []string{"allow"}},
	{"now this, now that", func(t truth) bool { return t.Race }, []string{"allow", "refuse"}},
	{"refused by libvirt", func(t truth) bool { return t.Outcome == libvirt }, nil},
}

// confusion reports what really happened against what the guard said. Two cells must be empty: refused though it
// starts, and allowed without a word though QEMU fails. What is known stands in the table too, in brackets.
func confusion(c *vm.Checks, table []truth) {
	vm.Say("what became of it, against what the guard said (in brackets: known and explained):")
	vm.Say("%-28s %10s %10s %10s", "", decisions[0], decisions[1], decisions[2])
	for _, row := range classes {
		line := fmt.Sprintf("%-28s", row.name)
		for _, decision := range decisions {
			var counted, known int
			for _, t := range table {
				if !row.is(t) || t.Decision != decision {
					continue
				}
				switch bad := slices.Contains(row.bad, decision); {
				case bad && t.Known != "":
					known++
				case bad:
					counted++
					c.That(false, fmt.Sprintf("%s: %s, and the guard said %s", t.Scenario, row.name, decision), t.Summary, t.Error)
				case t.Known != "":
					counted++
					c.That(false, fmt.Sprintf("%s: the guard is right about it and was not (%s): strike it off the known ones", t.Scenario, t.Known), t.Decision, t.Outcome)
				default:
					counted++
				}
			}
			cell := strconv.Itoa(counted)
			if known > 0 {
				cell += fmt.Sprintf(" (%d)", known)
			}
			line += fmt.Sprintf(" %10s", cell)
		}
		vm.Say("%s", line)
	}
	for _, t := range table {
		if t.Known != "" {
			vm.Say("  known: %s: %s, said %s: %s", t.Scenario, t.Outcome, t.Decision, t.Known)
		}
	}
	vm.Say("%d scenarios compared", len(table))
}
