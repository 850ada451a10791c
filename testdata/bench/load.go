package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
)

// A busy host: this many processes hold a huge page each, the first of them as
// the QEMUs of domains that are starting and have one page still to take.
const (
	holders  = 200
	starting = 50
	workers  = 8  // that ask at the same time
	refusals = 50 // of so many starts one does not fit
)

// holdArgument is the argument by which this program holds one page and sleeps.
const holdArgument = "-hold"

// holdOne holds a page until it is killed, and says so on standard output. It
// returns only if it cannot.
func holdOne() error {
	if _, err := holdPage("held"); err != nil {
		return err
	}
	fmt.Println("held")
	select {}
}

// populate starts the holders and writes the claims of the starting guests.
func populate() (end func(), err error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return func() {}, err
	}
	var pids []int
	end = func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range pids {
			_, _, _ = wait(pid)
		}
	}
	for range holders {
		said, says, err := os.Pipe()
		if err != nil {
			return end, err
		}
		pid, err := syscall.ForkExec("/proc/self/exe", []string{"bench", holdArgument}, &syscall.ProcAttr{
			Dir: "/", Files: []uintptr{0, says.Fd(), 2}, Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}})
		says.Close()
		if err != nil {
			return end, err
		}
		pids = append(pids, pid)
		n, err := said.Read(make([]byte, 8))
		said.Close()
		if n == 0 {
			return end, fmt.Errorf("holder %d holds nothing: %w", pid, err)
		}
	}
	return end, writeClaims(pids[:starting], time.Duration(now.Nano()))
}

// writeClaims writes the claims of starts whose QEMUs these are, which began at that time since
// boot. They take no more, which counts from an hour later.
func writeClaims(qemus []int, since time.Duration) error {
	host := sysfs.New("")
	boot, err := host.BootID()
	if err != nil {
		return err
	}
	kept := ledger.Ledger{Boot: boot}
	if err := os.MkdirAll("/run/libvirt/qemu", 0o755); err != nil {
		return err
	}
	for i, pid := range qemus {
		name := fmt.Sprintf("starting-%d", i)
		if err := os.WriteFile("/run/libvirt/qemu/"+name+".pid", fmt.Appendln(nil, pid), 0o600); err != nil {
			return err
		}
		started, err := host.StartedAfterBoot(pid)
		if err != nil {
			return err
		}
		kept.Put(ledger.Claim{UUID: fmt.Sprintf("5eed0000-0000-4000-8000-%012d", i), Name: name, Since: since,
			QEMU: ledger.Process{PID: pid, Started: started}, Progress: since + time.Hour,
			Parts: []ledger.Part{{PageKiB: pageKiB, Pages: 2, Taken: 1, Nodes: []int{0}, Hard: true}}})
	}
	if err := os.MkdirAll(filepath.Dir(ledgerFile), 0o700); err != nil {
		return err
	}
	return os.WriteFile(ledgerFile, kept.Text(), 0o600)
}

const ledgerFile = "/" + ledger.Path

// inLedger returns the names of the starting guests.
func inLedger() (names []string, err error) {
	kept, err := ledger.Read(sysfs.New(""))
	if err != nil {
		return nil, err
	}
	for _, c := range kept.Claims {
		names = append(names, c.Name)
	}
	return names, nil
}

// load has so many starts a second judged for a time, of which a few
// do not fit and each of the others ends at once, and prints how long the
// calls took, and how many of these starts a second the machine has at the most
// where the hook is an empty program. Every verdict must be right, and nothing
// may stay behind.
func (b *bench) load(ctx context.Context, rate int, length time.Duration) error {
	before, err := inLedger()
	if err != nil {
		return err
	}
	processes, err := countProcesses()
	if err != nil {
		return err
	}
	all, took, err := b.starts(ctx, rate, length, hook)
	if err != nil {
		return err
	}
	fmt.Printf("\n%v with %d processes, %d holders, %d starting guests, %d at a time:\n\n%-30s %8s %9s %9s %9s %9s %9s\n",
		length, processes, holders, starting, workers, "call", "calls/s", "median ms", "90 % ms", "99 % ms", "most ms", "CPU ms")
	begun := 0
	for _, call := range []string{fits, lacks, over} {
		s := all[call]
		if s == nil {
			return fmt.Errorf("there was no call %q", call)
		}
		if call != over {
			begun += len(s.took)
		}
		fmt.Printf("%-30s %8.1f %9.2f %9.2f %9.2f %9.2f %9.2f\n", call, float64(len(s.took))/took.Seconds(), s.median(), s.quantile(0.9), s.quantile(0.99), s.quantile(1), s.cpu())
	}
	after, err := inLedger()
	if err != nil {
		return err
	}
	if !slices.Equal(before, after) {
		return fmt.Errorf("the ledger had %d starts before and has %d: %q", len(before), len(after), after)
	}
	left, err := os.ReadDir(filepath.Dir(ledgerFile))
	if err != nil || len(left) != 1 {
		return fmt.Errorf("%s has %d files: %w", filepath.Dir(ledgerFile), len(left), err)
	}
	const short = 5 * time.Second
	got := float64(begun) / took.Seconds()
	all, took, err = b.starts(ctx, 1000, short, empty)
	if err != nil {
		return err
	}
	most := float64(len(all[fits].took)+len(all[lacks].took)) / took.Seconds()
	fmt.Printf("\n%.0f starts/s of %d asked for; %.0f/s where an empty Go program is the hook: %.2f of that\n", got, rate, most, got/most)
	return nil
}

// over is what libvirt calls at the end of a start.
const over = "stopped end"

// starts has so many starts a second for a time with a program as the hook, each
// with the calls that it takes, and returns how long these took, and all of it.
func (b *bench) starts(ctx context.Context, rate int, length time.Duration, program string) (all map[string]*series, took time.Duration, failed error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	defer null.Close()
	mounts, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		return nil, 0, err
	}
	defer mounts.Close()
	due := make(chan int, rate) // what comes late is made up for within a second
	began := time.Now()
	go func() {
		defer close(due)
		for i := 0; ctx.Err() == nil; i++ {
			next := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
			if next.Sub(began) >= length || time.Since(began) >= length {
				return
			}
			time.Sleep(time.Until(next))
			select {
			case <-ctx.Done():
			case due <- i:
			}
		}
	}()
	var mu sync.Mutex
	all = map[string]*series{}
	var done sync.WaitGroup
	for w := range workers {
		done.Add(1)
		go func() {
			defer done.Done()
			err := joinMounts(mounts)
			for i := range due {
				calls := []string{fits, over}
				if i%refusals == 0 {
					calls = []string{lacks}
				}
				for _, call := range calls {
					if err != nil {
						break
					}
					var one *series
					if one, err = b.worker(program, w, call); err != nil {
						break
					}
					var took time.Duration
					took, err = one.once(null)
					mu.Lock()
					if all[call] == nil {
						all[call] = one
					}
					all[call].took = append(all[call].took, took)
					if one != all[call] {
						all[call].busy += one.busy
					}
					mu.Unlock()
				}
				if err != nil {
					break
				}
			}
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
		}()
	}
	done.Wait()
	if ctx.Err() != nil {
		failed = errors.Join(failed, errors.New("interrupted"))
	}
	return all, time.Since(began), failed
}

// joinMounts gives this goroutine a thread of its own with the bench's mounts.
func joinMounts(mounts *os.File) error {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	return os.NewSyscallError("setns", unix.Setns(int(mounts.Fd()), unix.CLONE_NEWNS))
}

// worker is a program's call about a domain of a worker's own.
func (b *bench) worker(program string, w int, call string) (*series, error) {
	s := b.series(program, call, 0)
	if call == lacks && program == hook {
		s.exit = 1
	}
	name := fmt.Sprintf("worker-%d", w)
	s.calls[0][0] = name
	if call == over {
		s.stdin = os.DevNull
		return s, nil
	}
	file := b.domain(fmt.Sprintf("%s %d", call, w))
	if _, err := os.Stat(file); err != nil {
		text, err := os.ReadFile(s.stdin)
		if err != nil {
			return nil, err
		}
		own := strings.NewReplacer("instance-00000006", name, "6d0f1a52-4a5e", fmt.Sprintf("6d0f1a52-%04x", w)).Replace(string(text))
		if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
			return nil, err
		}
	}
	s.stdin = file
	return s, nil
}

// grow prints how the cost of a start grows with what a host and a domain have,
// each as a ratio to the same start on the quiet host.
func (b *bench) grow(ctx context.Context, rounds, crowd int) error {
	type row struct {
		what string
		all  []*series
	}
	var rows []row
	take := func(what string, change func(*series) error) error {
		r := row{what, []*series{b.series(hook, fits, 0), b.series(hook, lacks, 1)}}
		for _, s := range r.all {
			if change != nil {
				if err := change(s); err != nil {
					return err
				}
			}
		}
		rows = append(rows, r)
		return measure(ctx, r.all, rounds)
	}
	if err := take("quiet", nil); err != nil {
		return err
	}
	for _, kib := range []int{100, 1000} {
		padded := func(s *series) error {
			text, err := os.ReadFile(s.stdin)
			if err != nil {
				return err
			}
			s.stdin = b.domain(fmt.Sprintf("%s %d KiB", s.call, kib))
			pad := "<metadata>" + strings.Repeat("<pad xmlns='urn:pad' of='metadata'/>", kib*1024/36)
			return os.WriteFile(s.stdin, []byte(strings.Replace(string(text), "<metadata>", pad, 1)), 0o600)
		}
		if err := take(fmt.Sprintf("%d KiB of metadata", kib), padded); err != nil {
			return err
		}
	}
	for _, count := range []int{2, 8} {
		restore, err := pretendNodes(count)
		if err != nil {
			return err
		}
		if err := errors.Join(take(fmt.Sprintf("%d nodes", count), nil), restore()); err != nil {
			return err
		}
	}
	end, err := populate()
	defer end()
	if err != nil {
		return err
	}
	if err := take(fmt.Sprintf("%d holders, %d starting", holders, starting), nil); err != nil {
		return err
	}
	if err := os.Remove(ledgerFile); err != nil {
		return err
	}
	if err := take(fmt.Sprintf("%d holders", holders), nil); err != nil {
		return err
	}
	disperse, err := gather(crowd)
	if err != nil {
		return err
	}
	defer disperse()
	if err := take(fmt.Sprintf("%d holders, %d processes", holders, crowd), nil); err != nil {
		return err
	}
	fmt.Printf("\n%-30s %12s %12s   as ratios to the quiet host\n", "what a start costs", "accepted", "refused")
	for _, r := range rows {
		fmt.Printf("%-30s %12.2f %12.2f\n", r.what, r.all[0].median()/rows[0].all[0].median(), r.all[1].median()/rows[0].all[1].median())
	}
	return nil
}
