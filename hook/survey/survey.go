// Package survey reads a host: it is the only place where a root becomes a [guard.Host].
//
// [Counters] is the quick look, at what the kernel counts; [Full] looks besides who has the pages, who claims them,
// and who counts on them. The hook takes the same steps one by one, since it answers between them, and counts under the
// ledger's lock.
//
// What lies around the kernel's counters has rooms of its own: libvirt, process, holders, vswitch, and compute.
package survey

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/ledger"
	"hugeguard/hook/survey/compute"
	"hugeguard/hook/survey/holders"
	"hugeguard/hook/survey/process"
	"hugeguard/hook/survey/vswitch"
	"hugeguard/sysfs"
)

// Counters reads what a host has to give: its nodes, its hugetlbfs mounts, the pools, and the limits of the mounts and
// control groups on these; and for a demand which releases are to serve it. It does not look for holders.
func Counters(root sysfs.FS, of Scope) (guard.Host, error) {
	around := LookAround(root, of)
	host, err := around.Counters(of)
	if err == nil && of.demand != nil {
		host.Releases = around.Releases(*of.demand)
	}
	return host, err
}

// leisure is how long at the least who asks beforehand looks which domains are starting: no start waits for that.
const leisure = 2 * time.Second

// Full reads all that is to be known of a host, until the deadline: [Counters], who holds its pages, which domains are
// starting, what Open vSwitch was told and what Nova believes. Whatever cannot be read is named as unreadable; blind is
// why it is not known, or only in part, which domains are starting.
func Full(root sysfs.FS, of Scope, conf config.Config, deadline time.Time) (host guard.Host, blind, err error) {
	host, err = Counters(root, of)
	if err != nil {
		return host, nil, err
	}
	addDaemon(root, &host)
	processes, blind := Holders(root, conf, &host, of.domain(), deadline, leisure)
	Told(root, conf, &host, processes, deadline, func() {})
	return host, blind, nil
}

// searches is how often it is looked again while the pools change.
const searches = 8

// Holders adds to a host of which the counters are known who holds its pages, until the deadline at the latest, and, of
// the same moment, which domains but self are starting: for each look at these an eighth of the configuration's deadline
// is given, and atLeast whatever the deadline. Then it adds what the host is part of. It returns the processes that it
// saw, and why it is not known which domains are starting.
//
// Looking takes a while, in which pages come and go: the pools are read again, and it is looked again where they have
// changed. What is left after the last look is older than that: unexplained pages would be worse than pages that are
// seen twice.
func Holders(root sysfs.FS, conf config.Config, host *guard.Host, self guard.Domain, deadline time.Time, atLeast time.Duration) (processes []sysfs.Process, blind error) {
	addDistances(root, host)
	for again := searches - 1; ; again-- {
		found, seen, known := holders.Find(root, *host, self, deadline)
		host.Holders, processes = &found, seen
		host.Settle(guard.EvidenceHolders, known)
		if conf.Claims {
			patience := max(atLeast, min(conf.Deadline/8, time.Until(deadline)))
			host.Starting, blind = starting(root, self, conf.StartingLimit, time.Now().Add(patience))
		}
		if again == 0 || time.Now().After(deadline) || !refreshPools(root, host) {
			break
		}
	}
	host.Memory = Memory(root, *host)
	host.Platform = platform(root, processes)
	host.IdleHooks = idleHooks(root, self)
	addConfining(root, host)
	host.Holders.Alone = host.Platform.Inside != guard.InsideHost && alone(root)
	return processes, blind
}

// Told adds to a host of which the holders are known, or nil, what Open vSwitch was told, how much of that it uses, and
// what Nova believes, until the deadline at the latest, and calls each after each of them. Open vSwitch and Nova are
// asked side by side: each may be slow, or never answer, which costs the other nothing.
func Told(root sysfs.FS, conf config.Config, host *guard.Host, processes []sysfs.Process, deadline time.Time, each func()) {
	host.Settle(guard.EvidenceOVS, false)
	host.Settle(guard.EvidenceNova, false)
	if !time.Now().Before(deadline) {
		return
	}
	known := *host
	listed := !slices.Contains(known.NotKnown, guard.EvidenceHolders)
	answers := make(chan func(), 3)
	var asked sync.WaitGroup
	asked.Go(func() {
		tell(answers, func() func() {
			o, all := vswitch.Ask(root, conf, known, deadline)
			return func() { host.OVS = o; host.Settle(guard.EvidenceOVS, all) }
		})
		tell(answers, func() func() {
			use := vswitch.Use(root, known, deadline)
			if use == nil {
				return nil
			}
			return func() { host.OVS = host.OVS.Using(use) }
		})
	})
	asked.Go(func() {
		tell(answers, func() func() {
			n, all := compute.Look(root, conf, processes, deadline)
			all = all && (listed || n != nil && n.PID != 0) // or its process may be among those that were not seen
			return func() { host.Nova = n; host.Settle(guard.EvidenceNova, all) }
		})
	})
	go func() {
		asked.Wait()
		close(answers)
	}()
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	for {
		select {
		case add, ok := <-answers:
			if !ok {
				return
			}
			add()
			each()
		case <-late.C:
			return
		}
	}
}

// tell sends what ask returns, unless that is nil; nothing is known by what it panics with, which must not end the hook.
func tell(answers chan<- func(), ask func() func()) {
	defer func() { _ = recover() }()
	add := ask()
	if add != nil {
		answers <- add
	}
}

// addDistances adds how far the nodes lie apart, on which the order of hints depends.
func addDistances(root sysfs.FS, host *guard.Host) {
	for i, n := range host.Nodes {
		distances, err := root.Distances(n.ID)
		if err != nil || len(distances) != len(host.Nodes) {
			continue
		}
		host.Nodes[i].Distances = map[int]int{}
		for k, d := range distances {
			host.Nodes[i].Distances[host.Nodes[k].ID] = d
		}
	}
}

// starting returns the domains that are starting, but for self, as the ledger has them, with what they have still to
// take, and those that are moved here by post-copy without being in it.
func starting(root sysfs.FS, self guard.Domain, limit time.Duration, end time.Time) ([]guard.Starting, error) {
	claims, err := ledger.Read(root)
	seen := claims.Look(root, self, limit, end)
	arriving := claims.Arriving(root, process.Guests(root), self, end)
	return append(seen.Starting, arriving...), cmp.Or(err, seen.Blind)
}

// readings is how often pools and processes are read until both are of one moment.
const readings = 6

// Starting adds to a host of which the counters are known which domains but self are starting, as a ledger has them that
// this keeps up: see [ledger.Ledger.Look]. It reports whether it changed the ledger, and why not all could be seen.
//
// A starting QEMU takes its pages while it is looked at. Where the pools change
// under its eyes they are read again. What is read last is the processes, so
// that a page is rather counted as free than as gone twice. Where the last look comes too late, the one before it counts.
func Starting(root sysfs.FS, host *guard.Host, claims *ledger.Ledger, self guard.Domain, limit time.Duration, end time.Time) (changed bool, blind error) {
	pools := host.Pools // of the last look
	for again := readings - 1; ; again-- {
		seen := claims.Look(root, self, limit, end)
		changed = changed || seen.Changed
		if seen.Blind != nil && again < readings-1 {
			host.Pools = pools
			return changed, nil
		}
		host.Starting, pools = seen.Starting, host.Pools
		if again == 0 || !seen.Taking || seen.Blind != nil || !refreshPools(root, host) {
			return changed, seen.Blind
		}
	}
}
