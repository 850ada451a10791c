package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"
)

// series is one program at one call, or at some in a row, and how long it took each
// time.
type series struct {
	program, call string
	path          string
	calls         [][]string // arguments
	after         []string   // of another call, which does not count
	stdin         string     // a file
	exit          int        // the status that it has to end with
	took          []time.Duration
	busy          time.Duration // CPU time of all its calls
}

// libvirtEnv is the environment that libvirt's hooks get.
var libvirtEnv = []string{
	"LC_ALL=C",
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"USER=root",
	"LOGNAME=root",
}

// once runs the program once for each call, with stderr as its standard error.
func (s *series) once(stderr *os.File) (took time.Duration, err error) {
	for _, args := range s.calls {
		one, err := s.run(args, stderr)
		if err != nil {
			return 0, err
		}
		took += one
	}
	if s.after != nil {
		busy := s.busy
		_, err = s.run(s.after, stderr)
		s.busy = busy
	}
	return took, err
}

func (s *series) run(args []string, stderr *os.File) (time.Duration, error) {
	stdin, err := os.Open(s.stdin)
	if err != nil {
		return 0, err
	}
	defer stdin.Close()
	stdout, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer stdout.Close()
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   libvirtEnv,
		Files: []uintptr{stdin.Fd(), stdout.Fd(), stderr.Fd()},
		// The terminal's interrupt is for the bench alone.
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	argv := append([]string{s.path}, args...)

	began := time.Now()
	pid, err := syscall.ForkExec(s.path, argv, attr)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.path, err)
	}
	status, busy, err := wait(pid)
	took := time.Since(began)
	s.busy += busy

	if err != nil {
		return 0, err
	}
	if !status.Exited() || status.ExitStatus() != s.exit {
		return 0, fmt.Errorf("%s at %q ended with %v, not with exit status %d", s.program, s.call, describe(status), s.exit)
	}
	return took, nil
}

// wait waits for a child and returns how it ended and how much CPU time it took.
func wait(pid int) (status syscall.WaitStatus, busy time.Duration, err error) {
	var usage syscall.Rusage
	for {
		if _, err := syscall.Wait4(pid, &status, 0, &usage); err != syscall.EINTR {
			return status, time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), err
		}
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// measure runs all series, one call of each a round and in another order each
// time, so that whatever else the machine does, and what one program leaves in
// the caches for the next, falls on all alike. The first tenth warms up and
// does not count.
func measure(ctx context.Context, all []*series, rounds int) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	order := slices.Clone(all)
	random := rand.New(rand.NewPCG(1, 2))
	warm := max(rounds/10, 2)
	for round := range warm + rounds {
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			took, err := s.once(null)
			if err != nil {
				return err
			}
			if round >= warm {
				s.took = append(s.took, took)
			}
		}
	}
	return nil
}

// quantile is the time, in milliseconds, that a share q of the calls took at
// the most.
func (s *series) quantile(q float64) float64 {
	sorted := slices.Sorted(slices.Values(s.took))
	return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
}

// cpu is how much CPU time a call took on average, in milliseconds.
func (s *series) cpu() float64 {
	return float64(s.busy) / float64(len(s.took)) / float64(time.Millisecond)
}

func (s *series) median() float64 { return s.quantile(0.5) }

// report prints the table of a host, with each program's ratio to the hook at
// the same call.
func report(all []*series) error {
	processes, err := countProcesses()
	if err != nil {
		return err
	}
	fmt.Printf("\nwith %d processes, %d rounds:\n\n", processes, len(all[0].took))
	fmt.Printf("%-30s %-14s %9s %9s %9s\n", "call", "program", "median ms", "90 % ms", "x hook")
	for _, s := range all {
		fmt.Printf("%-30s %-14s %9.2f %9.2f", s.call, s.program, s.median(), s.quantile(0.9))
		if h := find(all, hook, s.call); h != nil {
			fmt.Printf(" %9.2f", s.median()/h.median())
		}
		fmt.Println()
	}
	return nil
}

// find is a program's series at a call, nil where there is none.
func find(in []*series, program, call string) *series {
	for _, s := range in {
		if s.program == program && s.call == call {
			return s
		}
	}
	return nil
}
