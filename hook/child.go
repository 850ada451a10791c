package hook

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/hook/survey/vswitch"
)

// What is not the kernel's own may never answer: a file system whose server is gone, a process's files on it. A thread
// that waits for that cannot be killed, the process that it belongs to never ends, and libvirt waits for that end. So
// the program that libvirt runs reads nothing of the kind (see sysfs.FS.Near). Where that leaves anything open it has a
// child judge the launch, with all there is to know, and ends with the best that it has heard when the time is up.

// childName is what the child is called, by which it is told from the program that
// libvirt runs: that is called by its path (virHookCall).
const childName = "hugeguard: child"

// The child's descriptors.
const (
	childXML     = 3 // the domain's XML, from its start
	childReports = 4 // where it reports
)

// A report is one line from the child; one of the fields is set.
type report struct {
	Settings *settled `json:",omitempty"` // first of all
	Note     string   `json:",omitempty"` // trouble with the ledger
	Answer   *answer  `json:",omitempty"` // better than those before it
}

// settled is what the configuration says, and what is wrong with it.
type settled struct {
	Config  config.Config
	Warning string `json:",omitempty"`
}

// Limits of what a child reports, in bytes.
const (
	maxReport  = 1 << 20 // one
	maxReports = 8 << 20 // all of them
)

// parseReport reads a report. It is not believed to be from a program that does as it should.
func parseReport(line []byte) (report, error) {
	var r report
	if err := json.Unmarshal(line, &r); err != nil {
		return report{}, err
	}
	what := ""
	switch {
	case r.Settings != nil && (!r.Settings.Config.Valid() || !printable(r.Settings.Warning, "")):
		what = "settings"
	case !printable(r.Note, ""):
		what = "note"
	case r.Answer != nil && !r.Answer.valid():
		what = "answer"
	}
	if what != "" {
		return report{}, fmt.Errorf("the child sent an invalid %s", what)
	}
	return r, nil
}

// child is the process that judges, as its parent has it.
type child struct {
	reports <-chan report // closed after the last
	end     func()        // ends it; it is not waited for
}

// askChild has a launch judged that began so long ago, of a domain with that XML.
func (c *call) askChild(xml *memory, began time.Time) (child, error) {
	file, err := xml.open()
	if err != nil {
		return child{}, err
	}
	var from io.ReadCloser
	var end func()
	if c.apart {
		from, end, err = spawnChild([]string{childName, c.args[1], onClock(began).String(), strconv.FormatBool(c.ledgerBusy), c.program}, file)
	} else {
		from, end = c.judgeWithin(file, began)
	}
	if err != nil {
		return child{}, err
	}
	reports := make(chan report)
	done := make(chan struct{})
	go readReports(from, reports, done)
	return child{reports, sync.OnceFunc(func() { close(done); end() })}, nil
}

// judgeWithin is spawnChild in this process.
func (c *call) judgeWithin(xml io.ReaderAt, began time.Time) (reports io.ReadCloser, end func()) {
	own := &call{args: c.args, stdin: io.NewSectionReader(xml, 0, 1<<62), fs: c.far, privileged: c.privileged,
		later: c.later, ledgerBusy: c.ledgerBusy}
	reader, writer := io.Pipe()
	go func() {
		defer writer.Close()
		own.judgeAll(writer, began)
	}()
	return reader, func() { reader.Close() }
}

// readReports reads what a child reports, until that is done. After what it cannot mean it is not listened to.
func readReports(from io.ReadCloser, to chan<- report, done <-chan struct{}) {
	defer from.Close()
	defer close(to)
	lines := bufio.NewScanner(io.LimitReader(from, maxReports))
	lines.Buffer(nil, maxReport)
	for lines.Scan() {
		r, err := parseReport(lines.Bytes())
		if err != nil {
			return
		}
		select {
		case to <- r:
		case <-done:
			return
		}
	}
}

// spawnChild runs this program as a child that has none of its descriptors, and
// returns what it reports and what ends it.
func spawnChild(argv []string, xml *os.File) (reports io.ReadCloser, end func(), err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer writer.Close()
	// What libvirt may have left open to its hooks is not for the child. Before Linux
	// 5.11 it stays.
	_ = unix.CloseRange(childXML, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	pid, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{
		Dir:   "/",
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), xml.Fd(), writer.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		reader.Close()
		return nil, nil, &os.PathError{Op: "exec", Path: "/proc/self/exe", Err: err}
	}
	return reader, func() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // its number is its own until it is waited for
		reap(pid)
	}, nil
}

// reapPatience is how long a child may take to end once it is killed: one that waits for
// what does not answer never ends. Tests have their own.
var reapPatience = 4 * time.Millisecond

// reap takes what is left of a child that ends, as not every first process of a container does it for others.
func reap(pid int) {
	for end := time.Now().Add(reapPatience); ; time.Sleep(100 * time.Microsecond) {
		if got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); got == pid || err != nil && err != syscall.EINTR || time.Now().After(end) {
			return
		}
	}
}

// clock is the kernel's, which a child shares with its parent however long it takes to begin.
func clock() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // it has no error for this clock
	return time.Duration(now.Nano())
}

// onClock returns what the clock showed at a time, and atClock the time at which it showed that.
func onClock(at time.Time) time.Duration    { return clock() - time.Since(at) }
func atClock(shown time.Duration) time.Time { return time.Now().Add(shown - clock()) }

// runChild is the child's program.
func runChild(args []string) int {
	startPoller()
	if len(args) != 5 {
		return exitRefuse
	}
	began, err := time.ParseDuration(args[2])
	if err != nil {
		return exitRefuse
	}
	limitMemory()
	self := program(args[4:])
	c := call{args: []string{"", args[1]}, stdin: io.NewSectionReader(os.NewFile(childXML, "domain.xml"), 0, 1<<62),
		privileged: os.Geteuid() == 0, ledgerBusy: args[3] == "true",
		later: sync.OnceValue(func() []string { return later(self) })}
	reports := os.NewFile(childReports, "reports")
	c.judgeAll(reports, atClock(began))
	reports.Close() // it would stay open for as long as a thread waits for what does not answer
	return exitAccept
}

// judgeAll judges a launch with all there is to know and reports each answer that is better than the one before.
func (c *call) judgeAll(to io.Writer, began time.Time) {
	tell := func(r report) {
		if line, err := json.Marshal(r); err == nil {
			_, _ = to.Write(append(line, '\n')) // there is nobody to tell if it cannot
		}
	}
	c.complete = true
	c.journal = func(e entry) error { tell(report{Note: e.Message}); return nil } // nothing else is told from here
	stands := false
	answer := func(o outcome) {
		stands = true
		a := c.answer(o)
		tell(report{Answer: &a})
	}
	defer func() {
		// A bug here must cost neither the launch nor an answer that stood before it.
		if r := recover(); r != nil && !stands {
			answer(outcome{err: bug(r)})
		}
	}()
	err := c.configureInTime()
	s := settled{Config: c.config}
	if err != nil {
		s.Warning = configWarning(err)
	}
	if tell(report{Settings: &s}); c.config.Mode == config.Off {
		return
	}
	c.judge(began.Add(c.config.Deadline+c.config.WaitForStarting), answer)
}

// judge judges a launch. The verdict by the counters stands as soon as there is
// one, then, if it is a refusal, the same again with those who hold the pages, with
// what Open vSwitch was told and with what Nova believes. Each says what is not known yet.
func (c *call) judge(deadline time.Time, answer func(outcome)) {
	demand, err := domain.Read(c.stdin)
	if err != nil {
		answer(outcome{err: err})
		return
	}
	read := demand
	c.demand.Store(&read)
	demand.Exempt = c.exempt()
	// Leave a part of the time to say it all, and of the rest some for what was told.
	looking := deadline.Add(-c.config.Deadline / 10)
	searching := looking.Add(-c.config.Deadline / 4)
	for range attempts {
		verdict, host, err := c.decide(demand)
		answer(outcome{verdict: verdict, err: err})
		if err != nil || !c.privileged {
			return
		}
		if verdict.Decision != guard.Refuse {
			if vswitch.Concerns(c.fs, demand, host) {
				host.OVS, _ = vswitch.Ask(c.fs, c.config, host, time.Now().Add(c.config.Deadline/8)) // an error does not matter
				if host.OVS != nil {
					answer(outcome{verdict: fix.Judge(demand, host)})
				}
			}
			return
		}
		processes, _ := survey.Holders(c.fs, c.config, &host, demand.Domain, searching, 0) // decide has told who is not seen
		verdict = fix.Judge(demand, host)
		if verdict.Decision != guard.Refuse {
			continue // pages have come back meanwhile
		}
		answer(outcome{verdict: verdict})
		survey.Told(c.fs, c.config, &host, processes, looking, func() { answer(outcome{verdict: fix.Judge(demand, host)}) })
		c.keepTold(verdict, host)
		return
	}
}

// attempts is how often a launch is judged again because pages came back while it was looked who has them.
const attempts = 3
