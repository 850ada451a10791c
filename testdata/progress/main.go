// Command progress runs "go test" with its arguments and prints what that would, and besides, every half a minute,
// which tests run:
//
//	go run ./testdata/progress -count=1 ./testdata/livehost
//
// Of itself go test says nothing of a package until it is done with it, or, with -v, everything. Last of all it says again
// what failed, since what a test said may be far above.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// event is what go test -json prints of a test, or of a package where it has no name ("go doc test2json").
type event struct {
	Action, Package, Test, Output string
}

// run is what is known of the tests by now.
type run struct {
	sync.Mutex
	began   time.Time
	done    int
	running map[event]time.Time // by Package and Test, since when
	output  map[event]string
	failed  []string // a line of each that failed, of a test with parts that of its parts
}

func main() {
	r := run{began: time.Now(), running: map[event]time.Time{}, output: map[event]string{}}
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		// From the terminal they reach both; go test decides what becomes of it.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGQUIT)
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "progress:", err)
		os.Exit(1)
	}
	go func() {
		for range time.Tick(30 * time.Second) {
			r.tell()
		}
	}()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		r.take(line)
		if err != nil {
			break
		}
	}
	cmd.Wait()
	for _, lines := range r.failed {
		fmt.Println("failed:", lines)
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		os.Exit(max(code, 1))
	}
}

// take takes a line of go test's.
func (r *run) take(line string) {
	r.Lock()
	defer r.Unlock()
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Print(line)
		return
	}
	id := event{Package: e.Package, Test: e.Test}
	switch e.Action {
	case "run":
		r.running[id] = time.Now()
	case "output":
		switch {
		case e.Test != "":
			r.output[id] += e.Output
		case e.Output != "PASS\n":
			fmt.Print(e.Output)
		}
	case "build-output":
		fmt.Print(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" && e.Action == "fail" {
			r.unfinished(e.Package)
		}
		if e.Action != "pass" {
			fmt.Print(r.output[id])
		}
		part := func(failed string) bool { return strings.HasPrefix(failed, e.Test+"/") }
		if e.Action == "fail" && e.Test != "" && !slices.ContainsFunc(r.failed, part) {
			r.failed = append(r.failed, e.Test+": "+gist(r.output[id]))
		}
		if e.Test != "" {
			r.done++
		}
		delete(r.running, id)
		delete(r.output, id)
	}
}

// gist is the first line that a test said of its own, cut to what a screen shows.
func gist(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, ".go:") {
			return line[:min(len(line), 400)]
		}
	}
	return "it said nothing"
}

// unfinished prints what the tests of a package said that were not ended when it was: by a time limit, whose record of all
// goroutines is among it, by a panic, or by an exit.
func (r *run) unfinished(pkg string) {
	for _, id := range slices.SortedFunc(maps.Keys(r.output), func(a, b event) int { return strings.Compare(a.Test, b.Test) }) {
		if id.Package == pkg {
			fmt.Print(r.output[id])
			delete(r.output, id)
			delete(r.running, id)
		}
	}
}

// tell prints which tests run.
func (r *run) tell() {
	r.Lock()
	defer r.Unlock()
	var list []string
	for id, since := range r.running {
		// Of one and its parts, the parts.
		parts := 0
		for other := range r.running {
			if other.Package == id.Package && strings.HasPrefix(other.Test, id.Test+"/") {
				parts++
			}
		}
		if parts == 0 {
			list = append(list, fmt.Sprintf("%s (%.0fs)", id.Test, time.Since(since).Seconds()))
		}
	}
	slices.Sort(list)
	if len(list) > 3 {
		list = append(list[:3], fmt.Sprintf("%d more", len(list)-3))
	}
	if list == nil {
		list = []string{"building"}
	}
	fmt.Printf("%5.0fs  %d tests done; now: %s\n", time.Since(r.began).Seconds(), r.done, strings.Join(list, ", "))
}
