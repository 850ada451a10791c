// Command bench times the hook program as a whole process, beside an empty Go
// program and beside the same check as a site might write it in bash and in
// python3, and compares the ratios with what the hook may cost:
//
//	go run ./testdata/bench             # beside the others, against the budgets
//	go run ./testdata/bench -growth     # how the cost grows with host and domain
//	go run ./testdata/bench -load 1m    # 200 starts a second on a busy host
//
// It needs root and some 2 MiB huge pages on node 0, which it takes for the
// time it runs and gives back, also when it is interrupted. All that it
// mounts is in a mount namespace of its own: a hugetlbfs, without which libvirt
// would refuse the domain before QEMU could, and an empty /run with a journal
// that throws everything away. It exits with status 1 when a budget is broken
// or nothing could be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Namespaces, and the signal at a parent's death, belong to a thread: all of
// it happens on the main one.
func init() { runtime.LockOSThread() }

func main() {
	rounds := flag.Int("rounds", 200, "`number` of times that every call is measured")
	crowd := flag.Int("processes", 2000, "`number` of processes on the crowded host")
	growth := flag.Bool("growth", false, "measure how the cost grows, and nothing else")
	length := flag.Duration("load", 0, "have starts judged for this `time`, and nothing else")
	rate := flag.Int("rate", 200, "starts a `second` of -load")
	hold := flag.Bool(holdArgument[1:], false, "hold a huge page and sleep")
	flag.Parse()
	if *hold {
		fmt.Fprintln(os.Stderr, "bench:", holdOne())
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	var ok bool
	var err error
	switch {
	case *growth || *length > 0:
		ok, err = true, runBusy(ctx, *rounds, *crowd, *rate, *length)
	default:
		ok, err = run(ctx, *rounds, *crowd)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// Huge pages, of 2 MiB.
const (
	pageKiB = 2048
	pool    = 64 // what has to be free at first
	held    = 48 // what somebody else then takes
	fitting = 8  // what a cell of the domain that fits needs
)

// runBusy measures the hook alone: how its cost grows, or for length, if that is
// not 0, how it stands a rate of starts on a busy host.
func runBusy(ctx context.Context, rounds, crowd, rate int, length time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "hugeguard-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(dir)
	if err != nil {
		return err
	}
	// Room for what the holders have, what the starting guests claim and what the workers start.
	restore, err := prepareHost(held+holders+starting+2*fitting*(workers+1), held)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	free, err := freePages()
	if err != nil {
		return err
	}
	if err := b.writeDomains(free); err != nil {
		return err
	}
	if length == 0 {
		return b.grow(ctx, rounds, crowd)
	}
	disperse, err := gather(crowd - holders)
	if err != nil {
		return err
	}
	defer disperse()
	end, err := populate()
	defer end()
	if err != nil {
		return err
	}
	return b.load(ctx, rate, length)
}

func run(ctx context.Context, rounds, crowd int) (ok bool, err error) {
	dir, err := os.MkdirTemp("", "hugeguard-bench")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(dir)
	if err != nil {
		return false, err
	}
	restore, err := prepareHost(pool, held)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	free, err := freePages()
	if err != nil {
		return false, err
	}
	if err := b.writeDomains(free); err != nil {
		return false, err
	}
	if err := b.introduce(); err != nil {
		return false, err
	}

	quiet := b.everything()
	if err := measure(ctx, quiet, rounds); err != nil {
		return false, err
	}
	if err := report(quiet); err != nil {
		return false, err
	}
	lives := b.lives()
	if err := measure(ctx, lives, (rounds+1)/2); err != nil {
		return false, err
	}
	if err := report(lives); err != nil {
		return false, err
	}
	disperse, err := gather(crowd)
	if err != nil {
		return false, err
	}
	defer disperse()
	crowded := b.prepares()
	// Its calls take long, and vary less.
	if err := measure(ctx, crowded, (rounds+3)/4); err != nil {
		return false, err
	}
	if err := report(crowded); err != nil {
		return false, err
	}
	return judge(quiet, crowded), nil
}

// bench is what is measured: the programs, and the domains they are given.
type bench struct {
	dir      string // for what it builds and writes
	programs map[string]string
}

// The programs, in the table's order.
const (
	empty  = "empty Go"
	parse  = "parsing Go"
	hook   = "hugeguard"
	python = "python3"
	grep   = "bash, greps"
	awk    = "bash, one awk"
)

// newBench builds the Go programs and finds the others.
func newBench(dir string) (*bench, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	here := filepath.Join(root, "testdata", "bench")
	b := &bench{dir: dir, programs: map[string]string{
		python: filepath.Join(here, "others", "etree.py"),
		grep:   filepath.Join(here, "others", "grep.bash"),
		awk:    filepath.Join(here, "others", "awk.bash"),
	}}
	for name, source := range map[string]string{
		empty: "testdata/bench/empty", parse: "testdata/bench/parse", hook: "hook/qemu",
	} {
		b.programs[name] = filepath.Join(dir, filepath.Base(source))
		if err := build(root, "./"+source, b.programs[name]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// everything is every program at every kind of call.
func (b *bench) everything() []*series {
	all := []*series{
		b.series(empty, other, 0),
		b.series(parse, small, 0),
	}
	for _, c := range []string{other, small} {
		for _, program := range []string{hook, awk, grep, python} {
			all = append(all, b.series(program, c, 0))
		}
	}
	return append(all, b.prepares()...)
}

// prepares is every program at a start that fits and at one that does not.
func (b *bench) prepares() []*series {
	var all []*series
	for _, program := range []string{hook, awk, grep, python} {
		accepted := b.series(program, fits, 0)
		// No start finds a claim of its own from before.
		accepted.after = []string{"instance-00000006", "started", "begin", "-"}
		all = append(all, accepted)
	}
	for _, program := range []string{hook, awk, grep, python} {
		all = append(all, b.series(program, lacks, 1))
	}
	return all
}

// lives is every program at the five calls that libvirt makes for a guest from its start to its end.
func (b *bench) lives() []*series {
	var all []*series
	for _, program := range []string{empty, hook, awk, python} {
		all = append(all, b.series(program, whole, 0))
	}
	return all
}

// The calls.
const (
	other = "started begin"
	small = "prepare begin, no huge pages"
	fits  = "prepare begin, accepted"
	lacks = "prepare begin, refused"
	whole = "the five of a whole life" // its start and its end
)

// judge compares the ratios with the budgets and prints them.
func judge(quiet, crowded []*series) (ok bool) {
	ms := func(in []*series, program, call string) float64 { return find(in, program, call).median() }
	base := ms(quiet, empty, other)
	parsing := ms(quiet, parse, small) - base
	accept := ms(quiet, hook, fits)
	ok = true
	fmt.Println()
	for _, budget := range []struct {
		what  string
		ratio float64
		least bool // the limit is the least it may be, not the most
		limit float64
	}{
		{"another call, to an empty Go program", ms(quiet, hook, other) / base, false, 1.35},
		{"no huge pages, less the parse, to an empty Go program", (ms(quiet, hook, small) - parsing) / base, false, 1.5},
		{"accepting, to an empty Go program", accept / base, false, 2.3},
		{"python3 to accepting", ms(quiet, python, fits) / accept, true, 3},
		{"bash with a grep a fact to accepting", ms(quiet, grep, fits) / accept, true, 3},
		{"refusing on the crowded host to accepting there", ms(crowded, hook, lacks) / ms(crowded, hook, fits), false, 10},
	} {
		verdict, bound := "ok", "at most"
		if budget.least {
			bound = "at least"
		}
		if budget.least == (budget.ratio < budget.limit) {
			verdict, ok = "BROKEN", false
		}
		fmt.Printf("%-6s  %5.2f  %-8s %5.2f  %s\n", verdict, budget.ratio, bound, budget.limit, budget.what)
	}
	return ok
}
