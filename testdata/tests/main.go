// Tests runs the tiers of the tests, each by its rule in the Makefile, and is what "make test" is. It says first what
// machine this is and what the tests do because of that, says once a minute what runs, and compares the machine before and
// after: what a tier leaves behind is a failure. Each line of a tier begins with its name.
//
//	go run ./testdata/tests check unit livehost
//	go run ./testdata/tests -beside numabox check unit livehost  # the one at the same time as the three
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	grace := flag.Duration("grace", time.Minute, "how long what a tier has started may take to end after it")
	beside := flag.String("beside", "", "the `tier` that runs at the same time as the others")
	one := flag.Bool("one", false, "watch over one tier; this program calls itself so")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "tests: name the rules of the Makefile to run, as in: go run ./testdata/tests check unit")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	if *one {
		err = watchTier(ctx, flag.Arg(0), *grace)
	} else {
		lanes := [][]string{flag.Args()}
		if *beside != "" {
			lanes = append(lanes, []string{*beside})
		}
		err = run(ctx, lanes, *grace)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests:", err)
	}
	switch {
	case errors.Is(err, errLeft):
		os.Exit(exitLeft)
	case err != nil:
		os.Exit(1)
	}
}

// errLeft is that a tier has passed and left processes running, and exitLeft the exit status that says so.
var errLeft = errors.New("it has left processes running")

const exitLeft = 3

// run runs the tiers of each lane one after the other, and the lanes at the same time. A tier that fails ends all.
func run(ctx context.Context, lanes [][]string, grace time.Duration) error {
	m, err := lookAtMachine()
	if err != nil {
		return err
	}
	m.describe(os.Stdout)
	if err := m.enough(lanes); err != nil {
		return err
	}
	// A name of a few characters, as a socket's path may have 107.
	tmp, err := os.MkdirTemp("", "t")
	if err != nil {
		return err
	}
	before, err := takeStock(tmp)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	for i, tiers := range lanes {
		go func() {
			for j, tier := range tiers {
				r := runTier(ctx, tier, filepath.Join(tmp, strconv.Itoa(i)+strconv.Itoa(j)), grace)
				r.last = j == len(tiers)-1 || r.failed != nil
				results <- r
				if r.last {
					return
				}
			}
		}()
	}
	var failed error
	var times, left []string
	for running := len(lanes); running > 0; {
		r := <-results
		if r.last {
			running--
		}
		if r.failed != nil && failed == nil { // what comes after it was ended because of it
			failed = r.failed
			cancel()
		}
		times, left = append(times, r.took), append(left, r.left...)
	}
	changed, err := changes(before, tmp)
	if left = append(left, changed...); len(left) > 0 {
		fmt.Printf("left behind on this machine:\n  %s\n", strings.Join(left, "\n  "))
	}
	switch {
	case failed != nil || err != nil:
		failed = errors.Join(failed, err)
		if len(left) == 0 {
			return errors.Join(failed, os.RemoveAll(tmp))
		}
		fmt.Printf("temporary files are kept in %s\n", tmp)
		return failed
	case len(left) > 0:
		return errors.Join(fmt.Errorf("the tests passed and left %d traces", len(left)), os.RemoveAll(tmp))
	}
	fmt.Printf("all tests passed, and the machine is as it was before: %s\n", strings.Join(times, ", "))
	return os.RemoveAll(tmp)
}

// A result is what became of a tier.
type result struct {
	failed error
	took   string   // its name and its time
	left   []string // what it left, a line each
	last   bool     // of its lane
}

// runTier runs a tier under a process of its own, to which its orphans are left, with a directory for temporary files.
func runTier(ctx context.Context, tier, tmp string, grace time.Duration) (r result) {
	began := time.Now()
	defer func() { r.took = fmt.Sprintf("%s %v", tier, time.Since(began).Round(time.Second)) }()
	if r.failed = os.Mkdir(tmp, 0o700); r.failed != nil {
		return r
	}
	self, err := os.Executable()
	if err != nil {
		r.failed = err
		return r
	}
	out := &teller{tier: tier}
	cmd := exec.CommandContext(ctx, self, "-grace", grace.String(), "-one", tier)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience + grace + 2*time.Minute
	err = cmd.Run()
	out.flush()
	switch {
	case cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == exitLeft:
		r.left = append(r.left, "make "+tier+": processes, named above")
	case err != nil:
		r.failed = fmt.Errorf("make %s: %w", tier, err)
	}
	files, err := os.ReadDir(tmp)
	for _, f := range files {
		r.left = append(r.left, fmt.Sprintf("make %s: %s was left in the directory for temporary files", tier, filepath.Join(tmp, f.Name())))
	}
	r.failed = errors.Join(r.failed, err)
	return r
}

// watchTier runs a tier, and ends what that leaves running.
func watchTier(ctx context.Context, tier string, grace time.Duration) error {
	// Orphans of the tests become children of this process, which is how they are found.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_CHILD_SUBREAPER): %w", err)
	}
	failed := makeTier(ctx, tier)
	left := endOrphans(grace)
	for _, what := range left {
		fmt.Println("left behind:", what)
	}
	if failed == nil && len(left) > 0 {
		return errLeft
	}
	return failed
}

// patience is how long a tier may take to put things back after an interrupt.
const patience = 40 * time.Second

// makeTier runs one rule of the Makefile, and says once a minute that it does.
func makeTier(ctx context.Context, tier string) error {
	fmt.Printf("== make %s\n", tier)
	program, err := exec.LookPath("make")
	if err != nil {
		return err
	}
	process, err := os.StartProcess(program, []string{"make", "--no-print-directory", tier}, &os.ProcAttr{
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
			return err
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

// reap waits for all children of this process, the adopted orphans among them, until the one has ended. Its error
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
