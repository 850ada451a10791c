package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// order is who maps, binds and touches when, when there are several memory
// backends.
type order string

const (
	// apart: one after the other, as QEMU before 9.0 does.
	apart order = "one after the other"
	// together: those that have nodes are mapped first and then touched side
	// by side, as QEMU since 9.0 does.
	together order = "side by side"
	// overlapping: the same, but the touching begins while others are still
	// to be mapped.
	overlapping order = "side by side, begun at once"
)

// command is what a worker is told: to take mappings, or to drop all, or both,
// one after the other.
type command struct {
	Drop     bool
	Mappings []mapping
	Order    order
	Threads  int // that touch one backend
	// CPU is where the main thread runs.
	CPU unix.CPUSet
	// TaskMode and TaskNodes are the policy of the process itself.
	TaskMode  int
	TaskNodes uint64
	// Enter is the control group that the process is put into once it has its
	// policy, "" for none; Leave is its own.
	Enter, Leave string
}

// mapping is one memory backend, or one holding of somebody else.
type mapping struct {
	ID     string
	Kind   kind
	Bytes  uint64 // as QEMU passes it to ftruncate of a memfd, and to mbind
	Shared bool
	// NoReserve maps without a reservation.
	NoReserve bool
	Mode      int // of mbind
	Nodes     uint64
	Touch     int // pages
	// CPU is where the threads that touch it run; empty: where the main
	// thread does.
	CPU *unix.CPUSet
	// Async says that QEMU since 9.0 touches it beside others.
	Async bool
	// Left leaves the file behind, unmapped.
	Left bool
	// Refused is what QEMU finds fault with before it asks the kernel.
	Refused string
}

// kind is what a mapping is a mapping of.
type kind string

const (
	hugeFile  kind = "file"  // an unlinked file on hugetlbfs
	memfd     kind = "memfd" // a memfd
	anonymous kind = "anonymous"
)

// answer is what became of a command.
type answer struct {
	Failed bool
	Step   string // "map", "bind", "touch", ...
	ID     string // of the mapping
	Error  string
	Broken string // the worker itself is at fault
}

func (a answer) String() string {
	switch {
	case a.Broken != "":
		return "broken: " + a.Broken
	case a.Failed:
		return fmt.Sprintf("%s of %s: %s", a.Step, a.ID, a.Error)
	}
	return "starts"
}

// process is a worker as the machine's first process sees it. The two talk by
// pipes that block: waking up more threads than two is what takes the time.
type process struct {
	cmd     *exec.Cmd
	in, out *os.File
	lines   *lineReader
}

const roleVariable = "HUGEGUARD_ROLE"

// startWorker starts a worker and moves it into a cgroup, "" for the root. One that is started there has not the cpuset of
// it on older kernels (cpuset_fork).
func startWorker(name, cgroup string) (*process, error) {
	cmd := &exec.Cmd{Path: "/init", Args: []string{name}, Stderr: os.Stderr,
		// A signal would but interrupt what the kernel is asked for.
		Env: []string{roleVariable + "=worker", "GODEBUG=asyncpreemptoff=1", "GOGC=400"}}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("worker %s: %w", name, err)
	}
	theirIn.Close()
	theirOut.Close()
	if cgroup != "" {
		if err := writeFile(cgroup+"/cgroup.procs", strconv.Itoa(cmd.Process.Pid)); err != nil {
			return nil, fmt.Errorf("worker %s: %w", name, err)
		}
	}
	return &process{cmd, in, out, &lineReader{fd: int(out.Fd())}}, nil
}

// lineReader reads lines from a pipe that blocks.
type lineReader struct {
	fd   int
	rest []byte
}

func (r *lineReader) line(limit time.Duration) ([]byte, error) {
	for {
		if line, rest, ok := bytes.Cut(r.rest, []byte{'\n'}); ok {
			r.rest = rest
			return line, nil
		}
		timeout := -1
		if limit > 0 {
			timeout = int(limit.Milliseconds())
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, timeout)
			if err == unix.EINTR {
				continue
			}
			if err == nil && n == 0 {
				err = os.ErrDeadlineExceeded
			}
			if err != nil {
				return nil, err
			}
		}
		var buf [4096]byte
		n, err := unix.Read(r.fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.EOF
		}
		r.rest = append(r.rest, buf[:n]...)
	}
}

func writeLine(fd int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	for text = append(text, '\n'); len(text) > 0; {
		n, err := unix.Write(fd, text)
		if err != nil && err != unix.EINTR {
			return err
		}
		text = text[max(n, 0):]
	}
	return nil
}

// workerLimit bounds one command.
const workerLimit = time.Minute

func (p *process) do(c command) (a answer, err error) {
	if err = writeLine(int(p.in.Fd()), c); err == nil {
		var line []byte
		if line, err = p.lines.line(workerLimit); err == nil {
			err = json.Unmarshal(line, &a)
		}
	}
	if err == nil && a.Broken != "" {
		err = errors.New(a.Broken)
	}
	if err != nil {
		err = fmt.Errorf("worker %s: %w", p.cmd.Args[0], err)
	}
	return a, err
}

// worker is the main program of a worker process.
func worker() {
	runtime.LockOSThread()
	w := &holding{}
	for range maxToucher {
		w.touchers = append(w.touchers, newToucher())
	}
	in := &lineReader{fd: 0}
	for {
		line, err := in.line(0)
		if err != nil {
			os.Exit(0) // the first process is gone
		}
		var c command
		var a answer
		if err := json.Unmarshal(line, &c); err != nil {
			a = broken("command", err)
		} else {
			a = w.obey(c)
		}
		if writeLine(1, a) != nil {
			os.Exit(0)
		}
	}
}

func (w *holding) obey(c command) answer {
	var a answer
	if !c.Drop || len(c.Mappings) > 0 {
		a = w.play(c)
	}
	if c.Drop && a.Broken == "" {
		if d := w.drop(); d.Failed {
			return d
		}
	}
	if c.Enter != "" {
		if err := writeFile(c.Leave+"/cgroup.procs", "0"); err != nil {
			return broken("leave", err)
		}
	}
	return a
}

// holding is a worker's mappings.
type holding struct {
	mapped   []mapped
	touchers []*toucher
}

type mapped struct {
	mapping
	start  unsafe.Pointer
	length uint64
	fd     int
	path   string
}

const maxToucher = 8

// toucher is a thread of a worker.
type toucher struct {
	tasks   chan touchTask
	results chan touchResult
}

type touchTask struct {
	mode   int
	nodes  uint64
	cpu    unix.CPUSet
	start  unsafe.Pointer
	length uint64
	id     string
}

type touchResult struct {
	id   string
	err  error
	self error // of the thread, rather than of the touching
}

func newToucher() *toucher {
	t := &toucher{make(chan touchTask, maxToucher), make(chan touchResult, maxToucher)}
	go func() {
		runtime.LockOSThread()
		for task := range t.tasks {
			r := touchResult{id: task.id}
			r.self = task.settle()
			if r.self == nil {
				r.err = populate(task.start, task.length)
			}
			t.results <- r
		}
	}()
	return t
}

// settle gives the thread that does a task its policy and its CPUs.
func (t touchTask) settle() error {
	err := setMempolicy(t.mode, t.nodes)
	if err == unix.EINVAL && (t.mode == mpolPreferred || t.mode == mpolPreferredMany) {
		// A cpuset has taken the nodes away since. QEMU's threads inherit that
		// policy, which is as good as none, but nobody can set it.
		err = setMempolicy(mpolDefault, 0)
	}
	if err != nil {
		return fmt.Errorf("set_mempolicy(%d, %#x): %w", t.mode, t.nodes, err)
	}
	if err := unix.SchedSetaffinity(0, &t.cpu); err != nil {
		return fmt.Errorf("sched_setaffinity(%v): %w", t.cpu[:1], err)
	}
	return nil
}

func broken(what string, err error) answer {
	return answer{Failed: true, Broken: fmt.Sprintf("%s: %v", what, err)}
}

// play does what QEMU does. The first failure counts, and ends it.
func (w *holding) play(c command) answer {
	if err := unix.SchedSetaffinity(0, &c.CPU); err != nil {
		return broken("affinity", err)
	}
	if err := setMempolicy(c.TaskMode, c.TaskNodes); err == unix.EINVAL {
		// No memory there. libnuma does not tell libvirt.
		c.TaskMode, c.TaskNodes = mpolDefault, 0
	} else if err != nil {
		return broken("task policy", err)
	}
	defer setMempolicy(mpolDefault, 0)
	if c.Enter != "" {
		err := writeFile(c.Enter+"/cgroup.procs", "0")
		if err == nil {
			// The kernel has changed the policy with the nodes, and the CPUs.
			c.TaskMode, c.TaskNodes, err = mempolicy()
			err = errors.Join(err, unix.SchedGetaffinity(0, &c.CPU))
		}
		if err != nil {
			return broken("enter", err)
		}
	}
	var pending []*pendingTouch
	for _, m := range c.Mappings {
		// QEMU moves the thread-context's own thread; this one may go where that
		// may.
		if err := w.visit(m.CPU, &c.CPU); err != nil {
			w.wait(pending)
			return answer{Failed: true, Step: "affinity", ID: m.ID, Error: errorName(err)}
		}
		if m.Refused != "" {
			w.wait(pending)
			return answer{Failed: true, Step: "check", ID: m.ID, Error: m.Refused}
		}
		at, a := w.mapOne(m)
		if a.Failed {
			w.wait(pending)
			return a
		}
		if m.Touch == 0 {
			continue
		}
		if (c.Order == apart || !m.Async) && m.CPU == nil && c.Threads <= 1 {
			// It makes no difference which thread it is.
			if err := populate(at.start, uint64(m.Touch)*pageBytes); err != nil {
				w.wait(pending)
				return answer{Failed: true, Step: "touch", ID: m.ID, Error: errorName(err)}
			}
			continue
		}
		p := w.prepareTouch(c, at, len(pending))
		switch {
		case c.Order == apart || !m.Async:
			w.begin(p)
			if a := w.wait([]*pendingTouch{p}); a.Failed {
				w.wait(pending)
				return a
			}
			continue
		case c.Order == overlapping:
			w.begin(p)
		}
		pending = append(pending, p)
	}
	if c.Order == together {
		for _, p := range pending {
			w.begin(p)
		}
	}
	if a := w.wait(pending); a.Failed {
		return a
	}
	for i := range w.mapped {
		if m := &w.mapped[i]; m.Left && m.start != nil {
			if err := unix.MunmapPtr(m.start, uintptr(m.length)); err != nil {
				return broken("unmap", err)
			}
			m.start = nil
			unix.Close(m.fd)
			m.fd = -1
		}
	}
	return answer{}
}

// visit returns why this thread cannot run on some CPUs, and has it back home.
func (w *holding) visit(cpus, home *unix.CPUSet) error {
	if cpus == nil || cpus.Count() == 0 {
		return nil
	}
	return errors.Join(unix.SchedSetaffinity(0, cpus), unix.SchedSetaffinity(0, home))
}

// pendingTouch is tasks and who does them.
type pendingTouch struct {
	tasks []touchTask
	who   []*toucher
	begun bool
}

func (w *holding) prepareTouch(c command, m mapped, earlier int) *pendingTouch {
	cpu := c.CPU
	if m.CPU != nil {
		cpu = *m.CPU
	}
	threads := min(max(c.Threads, 1), m.Touch, maxToucher/2)
	p := &pendingTouch{}
	each := m.Touch / threads
	at := 0
	for i := range threads {
		pages := each
		if i == threads-1 {
			pages = m.Touch - at
		}
		p.tasks = append(p.tasks, touchTask{mode: c.TaskMode, nodes: c.TaskNodes, cpu: cpu, id: m.ID,
			start: unsafe.Add(m.start, at*pageBytes), length: uint64(pages) * pageBytes})
		p.who = append(p.who, w.touchers[(earlier*threads+i)%maxToucher])
		at += pages
	}
	return p
}

func (w *holding) begin(p *pendingTouch) {
	p.begun = true
	for i, task := range p.tasks {
		p.who[i].tasks <- task
	}
}

// wait waits for all that have begun.
func (w *holding) wait(pending []*pendingTouch) (first answer) {
	for _, p := range pending {
		if !p.begun {
			continue
		}
		p.begun = false
		for _, t := range p.who {
			r := <-t.results
			switch {
			case r.self != nil:
				return broken("thread", r.self)
			case r.err != nil && !first.Failed:
				first = answer{Failed: true, Step: "touch", ID: r.id, Error: errorName(r.err)}
			}
		}
	}
	return first
}

// mapOne opens, maps and binds.
func (w *holding) mapOne(m mapping) (mapped, answer) {
	failed := func(step string, err error) (mapped, answer) {
		return mapped{}, answer{Failed: true, Step: step, ID: m.ID, Error: errorName(err)}
	}
	length := (m.Bytes + pageBytes - 1) / pageBytes * pageBytes
	at := mapped{mapping: m, length: length, fd: -1}
	flags := unix.MAP_PRIVATE
	if m.Shared {
		flags = unix.MAP_SHARED
	}
	var err error
	switch m.Kind {
	case hugeFile:
		file, err := os.CreateTemp(hugeMount, "qemu_back_mem."+m.ID+".")
		if err != nil {
			return failed("open", err)
		}
		at.path = file.Name()
		if !m.Left {
			at.path = ""
			os.Remove(file.Name())
		}
		at.fd, err = unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		file.Close()
		if err != nil {
			return failed("open", err)
		}
		// QEMU looks at no error of this one.
		_ = unix.Ftruncate(at.fd, int64(length))
	case memfd:
		if at.fd, err = unix.MemfdCreate("memory-backend-memfd", unix.MFD_CLOEXEC|unix.MFD_HUGETLB|mfdHuge2MB); err != nil {
			return failed("memfd", err)
		}
		if err = unix.Ftruncate(at.fd, int64(m.Bytes)); err != nil {
			unix.Close(at.fd)
			return failed("resize", err)
		}
	case anonymous:
		flags |= unix.MAP_ANONYMOUS | unix.MAP_HUGETLB | mfdHuge2MB
	}
	if m.NoReserve {
		flags |= unix.MAP_NORESERVE
	}
	at.start, err = unix.MmapPtr(at.fd, 0, nil, uintptr(length), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		unix.Close(at.fd)
		if at.path != "" {
			os.Remove(at.path)
		}
		return failed("map", err)
	}
	w.mapped = append(w.mapped, at)
	if m.Mode != mpolDefault {
		if err := mbind(at.start, m.Bytes, m.Mode, m.Nodes); err != nil {
			return failed("bind", err)
		}
	}
	return at, answer{}
}

// drop gives everything back.
func (w *holding) drop() answer {
	for _, m := range w.mapped {
		if m.start != nil {
			if err := unix.MunmapPtr(m.start, uintptr(m.length)); err != nil {
				return broken("unmap", err)
			}
		}
		if m.fd >= 0 {
			unix.Close(m.fd)
		}
		if m.path != "" {
			os.Remove(m.path)
		}
	}
	w.mapped = nil
	return answer{}
}

func errorName(err error) string {
	var e unix.Errno
	if errors.As(err, &e) {
		if name := unix.ErrnoName(e); name != "" {
			return name
		}
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
