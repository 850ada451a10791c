// Tests runs the tiers of the tests one after the other, each by its rule in the Makefile, and is what "make test" is. It
// says first what machine this is and what the tests do because of that, says once a minute what runs, and compares the
// machine before and after: what a tier leaves behind is a failure.
//
//	go run ./testdata/tests check unit livehost
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	grace := flag.Duration("grace", time.Minute, "how long what a tier has started may take to end after it")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "tests: name the rules of the Makefile to run, as in: go run ./testdata/tests check unit")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, flag.Args(), *grace); err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, tiers []string, grace time.Duration) error {
	m, err := lookAtMachine()
	if err != nil {
		return err
	}
	m.describe(os.Stdout)
	if err := m.enough(tiers); err != nil {
		return err
	}
	// Orphans of the tests become children of this process, which is how they are found.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_CHILD_SUBREAPER): %w", err)
	}
	// A name of a few characters, as a socket's path may have 107.
	tmp, err := os.MkdirTemp("", "tests")
	if err != nil {
		return err
	}
	before, err := takeStock(tmp)
	if err != nil {
		return err
	}
	var times, left []string
	failed := func() error {
		for _, tier := range tiers {
			began := time.Now()
			err := runTier(ctx, tier, tmp)
			for _, what := range endOrphans(grace) {
				left = append(left, "make "+tier+": "+what)
			}
			if err != nil {
				return err
			}
			times = append(times, fmt.Sprintf("%s %v", tier, time.Since(began).Round(time.Second)))
		}
		return nil
	}()
	files, err := leftBehind(before, tmp)
	if left = append(left, files...); len(left) > 0 {
		fmt.Printf("left behind on this machine:\n  %s\n", strings.Join(left, "\n  "))
	}
	switch {
	case failed != nil || err != nil:
		if len(left) > 0 {
			fmt.Printf("temporary files are kept in %s\n", tmp)
		}
		return errors.Join(failed, err)
	case len(left) > 0:
		return errors.Join(fmt.Errorf("the tests passed and left %d traces", len(left)), os.RemoveAll(tmp))
	}
	fmt.Printf("all tests passed, and the machine is as it was before: %s\n", strings.Join(times, ", "))
	return os.Remove(tmp)
}

// patience is how long a tier may take to put things back after an interrupt.
const patience = 40 * time.Second

// runTier runs one rule of the Makefile, and says once a minute that it does.
func runTier(ctx context.Context, tier, tmp string) error {
	fmt.Printf("== make %s\n", tier)
	program, err := exec.LookPath("make")
	if err != nil {
		return err
	}
	process, err := os.StartProcess(program, []string{"make", "--no-print-directory", tier}, &os.ProcAttr{
		Env:   append(os.Environ(), "TMPDIR="+tmp),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		// A group of its own can be ended as a whole, and this process outlives it to look at what is left.
		Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return err
	}
	pid := process.Pid
	_ = process.Release() // reap waits for it
	done := make(chan error, 1)
	go func() { done <- reap(pid) }()
	minute := time.NewTicker(time.Minute)
	defer minute.Stop()
	interrupted := ctx.Done()
	var late <-chan time.Time
	for minutes := 1; ; {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("make %s: %w", tier, err)
			}
			return nil
		case <-minute.C:
			fmt.Printf("== make %s, %d min: %s\n", tier, minutes, strings.Join(busy(pid), ", "))
			minutes++
		case <-interrupted:
			interrupted, late = nil, time.After(patience)
			_ = syscall.Kill(-pid, syscall.SIGTERM)
		case <-late:
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
}

// reap waits for all children of this process, the orphans that became such among them, until the one has ended. Its error
// is how that ended, if it failed.
func reap(one int) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return fmt.Errorf("wait4: %w", err)
		case pid != one:
		case status.Signaled():
			return fmt.Errorf("ended by the signal %v", status.Signal())
		case status.ExitStatus() != 0:
			return fmt.Errorf("exit status %d", status.ExitStatus())
		default:
			return nil
		}
	}
}
