// Command kernel compares guard.Judge with a real kernel that has several NUMA
// nodes, on thousands of random cases in one boot of a virtual machine:
//
//	go run ./testdata/numabox/kernel -cases 2000 -seed 7
//
// The machine runs Debian's cloud kernel under emulation, with the program in
// init/ as its only one. In every case it sets up pools and other holders,
// surveys the host and asks Judge about a domain; then it does in each order
// that libvirt and QEMU have what they would do for that domain: confine, map,
// bind, touch. A refusal of what can start is a disagreement, and so is an
// allowance, without a warning, of what can fail: also of one launch by a Judge
// who knows the releases that go about it so. Disagreements are made minimal in
// the same boot and printed; the exit status is 1 then, and 2 where the
// comparison itself could not be made.
//
// SUITE=bullseye, trixie or sid takes the kernel of that Debian instead of 12's.
// What a kernel lacks is done as QEMU does without it.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hugeguard/testdata/numabox/kernel/wire"
)

// Time limits. The whole is a flag.
const (
	buildLimit = 5 * time.Minute
	quietLimit = 3 * time.Minute // between two messages of the machine's
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// run returns the exit status: 0 they agree, 1 they do not, 2 it is not known.
func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("kernel", flag.ContinueOnError)
	cases := flags.Int("cases", 2500, "how many random `cases` to play")
	seed := flags.Uint64("seed", 0, "where the random cases begin; 0 is chosen at random")
	only := flags.String("case", "", "play only the cases with these `numbers`, separated by commas")
	topology := flags.String("nodes", "two", "the machine: "+strings.Join(slices.Sorted(maps.Keys(topologies)), ", "))
	limit := flags.Duration("timeout", 15*time.Minute, "for the machine as a whole")
	sceneFile := flags.String("scene", "", "play only the case in this `file`, a line of JSON that a disagreement printed")
	export := flags.String("export", "", "write the disagreements, or the cases of -case, as captured hosts into this `folder`")
	shrink := flags.Int("shrink", 6, "how many disagreements to make minimal")
	verbose := flags.Bool("v", false, "print every case")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	options := wire.Options{Cases: *cases, Seed: *seed, Shrink: *shrink, Export: *export != "", Verbose: *verbose,
		Seconds: int((*limit - time.Minute).Seconds())}
	if options.Seed == 0 {
		options.Seed = rand.Uint64N(1_000_000) + 1
	}
	for _, number := range strings.FieldsFunc(*only, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(number)
		if err != nil {
			fmt.Fprintf(os.Stderr, "kernel: -case: %v\n", err)
			return 2
		}
		options.Only = append(options.Only, n)
	}
	if *sceneFile != "" {
		text, err := os.ReadFile(*sceneFile)
		if err != nil {
			fmt.Fprintf(os.Stderr, "kernel: -scene: %v\n", err)
			return 2
		}
		options.Cases, options.Scene = 1, text
	}
	options.Suite = os.Getenv("SUITE")
	if options.Suite == "" {
		options.Suite = "bookworm"
	}
	machine, ok := topologies[*topology]
	if !ok || flags.NArg() > 0 || options.Cases < 1 || options.Seconds < 1 {
		flags.Usage()
		return 2
	}
	bad, err := compare(ctx, options, machine, *limit, *export)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "kernel: %v\n", err)
		return 2
	case bad > 0:
		return 1
	}
	return 0
}

// topologies are QEMU's options for the machines.
var topologies = map[string][]string{
	"two": slices.Concat(cpus(2), memory(768, 2),
		numa("0,cpus=0,memdev=m0", "1,cpus=1,memdev=m1")),
	"four": slices.Concat(cpus(4), memory(640, 4),
		numa("0,cpus=0,memdev=m0", "1,cpus=1,memdev=m1", "2,cpus=2,memdev=m2", "3,cpus=3,memdev=m3"),
		distances(4)),
	// Node 2 has memory alone, as memory behind CXL has.
	"cpuless": slices.Concat(cpus(2), memory(640, 3),
		numa("0,cpus=0,memdev=m0", "1,cpus=1,memdev=m1", "2,memdev=m2"),
		distances(3)),
	// Node 2 has a CPU alone.
	"memoryless": slices.Concat(cpus(3), memory(640, 2),
		numa("0,cpus=0,memdev=m0", "1,cpus=1,memdev=m1", "2,cpus=2"),
		distances(3)),
}

func cpus(n int) []string { return []string{"-smp", strconv.Itoa(n)} }

func memory(mib, nodes int) []string {
	args := []string{"-m", fmt.Sprintf("%dM", mib*nodes)}
	for i := range nodes {
		args = append(args, "-object", fmt.Sprintf("memory-backend-ram,id=m%d,size=%dM", i, mib))
	}
	return args
}

func numa(nodes ...string) (args []string) {
	for _, node := range nodes {
		args = append(args, "-numa", "node,nodeid="+node)
	}
	return args
}

// distances tells every two nodes apart, so that the order in which a node
// falls back to others is no accident.
func distances(nodes int) (args []string) {
	for a := range nodes {
		for b := a + 1; b < nodes; b++ {
			args = append(args, "-numa", fmt.Sprintf("dist,src=%d,dst=%d,val=%d", a, b, 12+5*(b-a)+a))
		}
	}
	return args
}

// compare plays the cases and returns how many disagreements there are.
func compare(ctx context.Context, options wire.Options, machine []string, limit time.Duration, export string) (bad int, err error) {
	image, name, err := fetchKernel(ctx, options.Suite)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp("", "hugeguard-kernel-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if bad == 0 && err == nil {
			os.RemoveAll(work)
			return
		}
		// The console alone is worth keeping.
		os.Remove(filepath.Join(work, "init"))
		os.Remove(filepath.Join(work, "initrd"))
		fmt.Printf("\nthe console is in %s\n", filepath.Join(work, "console"))
	}()
	initrd := filepath.Join(work, "initrd")
	if err := buildInitramfs(ctx, work, initrd, options); err != nil {
		return 0, err
	}
	fmt.Printf("%s, seed %d, %d cases\n", name, options.Seed, options.Cases)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(limit, func() { cancel(fmt.Errorf("it ran for %v", limit)) })
	defer late.Stop()
	qemu := exec.CommandContext(ctx, "nice", slices.Concat([]string{"qemu-system-x86_64"}, machine, []string{
		"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm", "-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "file:" + filepath.Join(work, "console"), "-serial", "stdio",
		"-kernel", image, "-initrd", initrd,
		// Zeroing what nobody reads is most of the work under emulation.
		"-append", "console=ttyS0 panic=-1 quiet init_on_alloc=0 mitigations=off nokaslr clearcpuid=112 cgroup_no_v1=all",
	})...)
	// The death of the thread that starts it counts as ours.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	qemu.Stderr = os.Stderr
	qemu.WaitDelay = 10 * time.Second
	out, err := qemu.StdoutPipe()
	if err != nil {
		return 0, err
	}
	started := time.Now()
	if err := qemu.Start(); err != nil {
		return 0, err
	}
	table, bad, err := follow(out, func() { cancel(fmt.Errorf("it said nothing for %v", quietLimit)) }, export)
	stopped := context.Cause(ctx)
	cancel(nil)
	// It has said all that it had to say, or will not.
	if waited := qemu.Wait(); err == nil && table == nil {
		err = fmt.Errorf("the machine ended without a result: %w", cmp.Or(stopped, waited, errors.New("it powered off")))
	}
	if table != nil {
		fmt.Printf("\nseed %d, %s, %.0f s in all\n%s", options.Seed, name, time.Since(started).Seconds(), closing(*table))
		if err == nil && table.Cases == 0 {
			err = errors.New("no case was played")
		}
	}
	return bad, err
}

// buildInitramfs puts the machine's program and its options into an archive.
func buildInitramfs(ctx context.Context, work, initrd string, options wire.Options) error {
	ctx, cancel := context.WithTimeout(ctx, buildLimit)
	defer cancel()
	program := filepath.Join(work, "init")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", program, "hugeguard/testdata/numabox/kernel/init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("%s: %w", build, err)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	text, err := json.Marshal(options)
	if err != nil {
		return err
	}
	var root initramfs
	for _, dir := range []string{"dev", "proc", "sys", "tmp"} {
		root.dir(dir)
	}
	root.console()
	root.file("init", content)
	root.file(strings.TrimPrefix(wire.OptionsFile, "/"), text)
	return os.WriteFile(initrd, root.bytes(), 0o644)
}

// follow prints what the machine says until it is done. stop ends the machine.
func follow(out io.Reader, stop func(), export string) (table *wire.Table, bad int, err error) {
	quiet := time.AfterFunc(quietLimit, stop)
	defer quiet.Stop()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		quiet.Reset(quietLimit)
		var m wire.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, bad, fmt.Errorf("the machine said %.200q: %w", lines.Text(), err)
		}
		switch {
		case m.Hello != "":
			fmt.Println(m.Hello)
		case m.Log != "":
			fmt.Println(m.Log)
		case m.Progress != nil:
			t := m.Progress
			fmt.Printf("%6d cases, %d launches, %d disagreements, %.0f s, %.0f cases/min\n",
				t.Cases, t.Launches, t.Bad, t.Seconds, 60*float64(t.Cases)/t.Seconds)
		case m.Bad != nil:
			bad++
			fmt.Printf("\n=== disagreement %d: case %d, %s\n%s\n", bad, m.Bad.Case, m.Bad.Kind, m.Bad.Text)
		case m.Fixture != nil:
			if err := write(export, *m.Fixture); err != nil {
				return nil, bad, err
			}
		case m.Broken != "":
			return nil, bad, errors.New(m.Broken)
		case m.Done != nil:
			return m.Done, max(bad, m.Done.Bad), nil
		}
	}
	return nil, bad, lines.Err()
}

// write makes a captured host of a case.
func write(export string, fixture wire.Fixture) error {
	for name, content := range fixture.Files {
		if !filepath.IsLocal(name) || !filepath.IsLocal(fixture.Name) {
			return fmt.Errorf("the machine would write %s", name)
		}
		name = filepath.Join(export, fixture.Name, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("wrote %s\n", filepath.Join(export, fixture.Name))
	return nil
}

// closing is the closing table.
func closing(t wire.Table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d cases and %d launches in %.0f s, %.0f cases a minute; %d cases left out as their state would not rest\n",
		t.Cases, t.Launches, t.Seconds, 60*float64(t.Cases)/t.Seconds, t.Skipped)
	outcomes := []string{"started", "both", "failed"}
	fmt.Fprintf(&b, "\n%-24s", "cases")
	for _, o := range outcomes {
		fmt.Fprintf(&b, "%10s", o)
	}
	b.WriteByte('\n')
	row := func(counts map[string]int, name string) {
		fmt.Fprintf(&b, "%-24s", name)
		for _, o := range outcomes {
			fmt.Fprintf(&b, "%10d", counts[name+" "+o])
		}
		b.WriteByte('\n')
	}
	decisions := []string{"allow", "warn", "refuse"}
	for _, decision := range decisions {
		row(t.Verdicts, decision)
	}
	b.WriteString("\nknowing the releases\n")
	for _, decision := range decisions {
		row(t.Known, decision)
	}
	b.WriteString("\nwarned of\n")
	var codes []string
	for key := range t.Warnings {
		code, _, _ := strings.Cut(key, " ")
		codes = append(codes, code)
	}
	slices.Sort(codes)
	for _, code := range slices.Compact(codes) {
		row(t.Warnings, code)
	}
	b.WriteString("\nfailed launches\n")
	for _, failure := range slices.Sorted(maps.Keys(t.Failures)) {
		fmt.Fprintf(&b, "%-40s%8d\n", failure, t.Failures[failure])
	}
	fmt.Fprintf(&b, "\n%d disagreements\n", t.Bad)
	return b.String()
}
