// Command init is the only program of the machine that compares guard.Judge
// with the kernel: its first process, which makes the cases, and the workers
// that hold pages and launch domains.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/testdata/numabox/kernel/wire"
)

func main() {
	if os.Getenv(roleVariable) == "worker" {
		worker()
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this is for the machine of testdata/numabox/kernel, where it is process 1")
		os.Exit(2)
	}
	// Waking up a second CPU for nothing takes the emulator long.
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	var first unix.CPUSet
	first.Set(0)
	err := errors.Join(mountAll(), unix.SchedSetaffinity(0, &first))
	port, portErr := openSerial("/dev/ttyS1")
	if portErr != nil {
		fmt.Fprintf(os.Stderr, "init: the second serial port: %v\n", portErr)
		powerOff()
	}
	if err == nil {
		err = protect(func() error { return compare(port) })
	}
	if err != nil {
		port.send(wire.Message{Broken: err.Error()})
	}
	// The port is slower than the program.
	time.Sleep(500 * time.Millisecond)
	powerOff()
}

func powerOff() {
	unix.Sync()
	fmt.Fprintln(os.Stderr, "init: power off:", unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	time.Sleep(time.Hour)
}

// protect turns a panic into an error: the first process must not end.
func protect(do func() error) (err error) {
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("panic: %v\n%s", e, debug.Stack())
		}
	}()
	return do()
}

func (s *serial) send(m wire.Message) {
	text, err := json.Marshal(m)
	if err != nil {
		text = []byte(`{"broken":"a message that is no JSON"}`)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.file.Write(append(text, '\n')); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
	}
}

// session is the comparison.
type session struct {
	*machine
	port    *serial
	options wire.Options
	table   wire.Table
	started time.Time
	shrunk  int
	// group is which arrangement the machine has; see [session.random].
	group int
	base  scene
}

// perGroup is how many cases share pools and holders, which take longer to
// arrange than a launch takes.
const perGroup = 4

const progressEvery = 10 * time.Second

func compare(port *serial) error {
	text, err := os.ReadFile(wire.OptionsFile)
	if err != nil {
		return err
	}
	s := &session{port: port, started: time.Now()}
	if err := json.Unmarshal(text, &s.options); err != nil {
		return err
	}
	if s.machine, err = newMachine(); err != nil {
		return err
	}
	s.table = wire.Table{Verdicts: map[string]int{}, Known: map[string]int{}, Warnings: map[string]int{}, Failures: map[string]int{}}
	port.send(wire.Message{Hello: fmt.Sprintf("Linux %s, nodes with memory %s, %d CPUs", release(), guard.NodeSet(s.nodes), len(s.allCPUs))})
	last := time.Now()
	for number := range s.options.Cases {
		if len(s.options.Only) > 0 && !slices.Contains(s.options.Only, number) {
			continue
		}
		if time.Since(s.started) > time.Duration(s.options.Seconds)*time.Second {
			port.send(wire.Message{Log: fmt.Sprintf("time is up before case %d", number)})
			break
		}
		if err := s.one(number); err != nil {
			return fmt.Errorf("case %d: %w", number, err)
		}
		if time.Since(last) > progressEvery {
			last = time.Now()
			port.send(wire.Message{Progress: s.report()})
		}
	}
	port.send(wire.Message{Done: s.report()})
	return nil
}

func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (s *session) report() *wire.Table {
	s.table.Seconds = time.Since(s.started).Seconds()
	return &s.table
}

// one plays one case.
func (s *session) one(number int) error {
	o, err := s.random(number)
	if errors.Is(err, errRestless) {
		s.arranged = false
		s.table.Skipped++
		return nil
	}
	if err != nil {
		return err
	}
	s.count(o)
	kind, by := o.bad()
	if s.options.Verbose || len(s.options.Only) > 0 || s.options.Scene != nil {
		s.port.send(wire.Message{Log: fmt.Sprintf("case %d: %s, %s\n%s", number, o.verdict.Decision, fate(o.plays...), s.describe(o))})
	}
	if s.options.Export && len(s.options.Only) > 0 {
		s.arranged = false
		if err := s.export(fmt.Sprintf("case-%d-%d", s.options.Seed, number), o); err != nil {
			return err
		}
	}
	if kind == "" {
		return nil
	}
	s.table.Bad++
	s.arranged = false
	if s.shrunk < s.options.Shrink {
		s.shrunk++
		if o, err = s.shrink(o, kind, by); err != nil {
			return err
		}
		if s.options.Export {
			if err := s.export(fmt.Sprintf("bad-%d-%d", s.options.Seed, number), o); err != nil {
				return err
			}
		}
	}
	s.port.send(wire.Message{Bad: &wire.Bad{Case: number, Kind: kind, Text: s.describe(o)}})
	return nil
}

// random makes a case, judges it and plays it.
func (s *session) random(number int) (*outcome, error) {
	group := number / perGroup
	if !s.arranged || group != s.group {
		d := s.dice(s.options.Seed, -1-group)
		d.late = number >= s.options.Cases-s.options.Cases/25
		s.group, s.base = group, d.pools()
		if err := s.arrange(s.base); err != nil {
			return nil, err
		}
	}
	sc, d := s.base, s.dice(s.options.Seed, number)
	if s.options.Scene != nil {
		return s.given(d)
	}
	// Any domain with huge pages of that size will do for a look at the pools.
	sc.Domain = domain{WholeMiB: 2, Pages: pagesSize, Partition: sc.Group.partition()}
	look, err := s.judge(sc)
	if err != nil {
		return nil, err
	}
	sc.Domain = d.domain(look.host)
	sc.Domain.Partition, sc.Domain.Pin = sc.Group.partition(), d.pin(sc.Group)
	o, err := s.judge(sc)
	if err != nil {
		return nil, err
	}
	for _, v := range d.variants(sc) {
		times := 1
		if v.Order != apart {
			times = 2
		}
		if err := s.add(o, v, times); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// given plays the scene that the options have, in all variants and often.
func (s *session) given(d dice) (*outcome, error) {
	var sc scene
	if err := json.Unmarshal(s.options.Scene, &sc); err != nil {
		return nil, err
	}
	if len(sc.Pools) != len(s.nodes) || len(sc.Holders) > len(s.holders) {
		return nil, fmt.Errorf("a scene with %d nodes and %d holders, on a machine with %d and %d", len(sc.Pools), len(sc.Holders), len(s.nodes), len(s.holders))
	}
	if err := s.arrange(sc); err != nil {
		return nil, err
	}
	o, err := s.judge(sc)
	if err != nil {
		return nil, err
	}
	for _, v := range d.variants(sc) {
		if err := s.add(o, v, raceTimes); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (s *session) count(o *outcome) {
	s.table.Cases++
	for _, p := range o.plays {
		s.table.Launches += len(p.answers)
		s.table.Known[string(p.known.Decision)+" "+fate(p)]++
		for _, a := range p.answers {
			if a.Failed {
				s.table.Failures[a.Step+": "+a.Error]++
			}
		}
	}
	fate := fate(o.plays...)
	s.table.Verdicts[string(o.verdict.Decision)+" "+fate]++
	if o.verdict.Decision == guard.Warn {
		var codes []string
		for _, f := range o.verdict.Findings {
			codes = append(codes, f.Code)
		}
		slices.Sort(codes)
		s.table.Warnings[strings.Join(slices.Compact(codes), "+")+" "+fate]++
	}
}

// describe prints a case so that it can be done again by hand.
func (s *session) describe(o *outcome) string {
	var b strings.Builder
	sc := o.scene
	for i, node := range s.nodes {
		fmt.Fprintf(&b, "pool of node %d: %d pages", node, sc.Pools[i])
		if sc.Resized != nil {
			fmt.Fprintf(&b, ", %d once the holders have theirs", sc.Resized[i])
		}
		b.WriteByte('\n')
	}
	if sc.Overcommit > 0 {
		fmt.Fprintf(&b, "overcommit: %d\n", sc.Overcommit)
	}
	if sc.Mount != (mount{}) {
		fmt.Fprintf(&b, "mount: %s\n", sc.Mount.options())
	}
	if text := sc.Group.String(); text != "" {
		fmt.Fprintf(&b, "group: %s\n", text)
	}
	for _, h := range sc.Holders {
		fmt.Fprintf(&b, "holder: %s\n", h)
	}
	for _, pool := range o.host.Pools {
		fmt.Fprintf(&b, "survey: %d reserved, %d surplus;", pool.Reserved, pool.Surplus)
		for _, n := range pool.Nodes {
			fmt.Fprintf(&b, " node %d: %d of %d free, %d surplus;", n.Node, n.Free, n.Total, n.Surplus)
		}
		b.WriteByte('\n')
	}
	for _, c := range o.host.Cgroups {
		fmt.Fprintf(&b, "survey: %+v\n", c)
	}
	if l := o.host.Mounts[0].Limit; l != nil {
		fmt.Fprintf(&b, "survey: mount %+v\n", *l)
	}
	b.Write(sc.Domain.xml("case"))
	for _, p := range o.plays {
		fmt.Fprintf(&b, "kernel: %s:", p.variant)
		for _, a := range p.answers {
			fmt.Fprintf(&b, " %s;", a)
		}
		fmt.Fprintf(&b, "\n        knowing that, Judge: %s: %s\n", p.known.Decision, words.Summary(fix.Verdict{Verdict: p.known}))
	}
	fmt.Fprintf(&b, "Judge: %s: %s\n", o.verdict.Decision, words.Summary(fix.Verdict{Verdict: o.verdict}))
	for _, f := range o.verdict.Findings {
		fmt.Fprintf(&b, "       %s (%s): %s\n", f.Severity, f.Code, words.Finding(f))
	}
	if text, err := json.Marshal(sc); err == nil {
		fmt.Fprintf(&b, "scene: %s\n", text)
	}
	return b.String()
}
