package guard

import (
	"math/bits"
	"slices"
)

// rules is a set of rules: those that hold, or those that matter.
//
// A rule is something about releases of libvirt, QEMU and the kernel that decides whether some launches succeed. They
// are packaged apart, so nearly every combination is in use. A guard that does not know which one it serves refuses only
// what fails under all of them, and warns of what fails under some.
type rules uint32

// The rules, each with its row in [table].
const (
	ruleCpuset rules = 1 << iota
	ruleRestrictive
	ruleUnion
	ruleExactFiles
	ruleParallel
	ruleRestrictiveThreads
	ruleThreads
	ruleNodemask
	ruleRAM
	ruleUnreserved
	rulePolicy
	ruleConfinedFirst
	ruleMemfd

	allRules = 1<<iota - 1
)

// has reports whether all of some rules are in the set.
func (r rules) has(some rules) bool { return r&some == some }

// row is everything about one rule except what it does, which the simulation plays.
type row struct {
	rule rules
	// libvirt, qemu and kernel say since when each has what the rule takes. All must have it; the zero span is always.
	libvirt, qemu, kernel span
	// needs are the rules without which this one never holds, and those that they need.
	needs rules
	// ends is a rule under which some launches fail only until this one comes; 0 for none.
	ends rules
	// confines reports whether the rule can change on which nodes a domain with this cpuset may have its pages; nil for
	// never.
	confines func(Cpuset) bool
	// matters reports whether the rule can change the fate of a launch in another way; nil for never.
	matters func(launch, Host) bool
}

// span is since when a project has something: surely since one release, and perhaps since an earlier one that began
// with it, or whose stable series may have received it.
type span struct{ perhaps, surely Version }

// table has the rules in the order in which [decisive] tries them.
var table = [...]row{
	// libvirt may use the cpuset controller. Without it, libvirt keeps strict by the process's own policy
	// (qemuProcessHook), and restrictive not at all.
	{
		rule:     ruleCpuset,
		confines: func(c Cpuset) bool { return c.Nodes != nil },
		matters: func(l launch, host Host) bool {
			return host.cgroup().Legacy || slices.ContainsFunc(l.backends, func(b Backend) bool {
				return b.PinnedTo != nil && b.keptOff(host)
			})
		},
	},
	// libvirt uses that controller for restrictive, too. The mode came in 7.3.
	{
		rule:     ruleRestrictive,
		libvirt:  span{7_003_000, 9_000_000},
		needs:    ruleCpuset,
		confines: func(c Cpuset) bool { return c.Restrictive },
	},
	// The cpuset of strict is the union with all memnodes, not the nodeset of numatune/memory. It began in 9.4.
	{
		rule:     ruleUnion,
		libvirt:  span{9_004_000, 9_005_000},
		confines: func(c Cpuset) bool { return !slices.Equal(c.Nodes, c.Union) },
	},
	// A file backend must be a multiple of its page, not only one that is bound (QEMU 5d9a9a617053).
	{
		rule: ruleExactFiles,
		qemu: span{9_000_000, 9_001_000},
		matters: func(l launch, _ Host) bool {
			return slices.ContainsFunc(l.backends, func(b Backend) bool {
				page := b.PageKiB * 1024
				return b.Bytes%page != 0 || b.ExactBytes%page != 0
			})
		},
	},
	// All backends are mapped first and then touched side by side, not one after the other (QEMU 04accf43df83). It takes
	// MADV_POPULATE_WRITE (touch_all_pages), which came in Linux 5.14.
	{
		rule:    ruleParallel,
		qemu:    span{9_000_000, 9_000_000},
		kernel:  span{5_014_000, 5_014_000},
		needs:   ruleThreads,
		matters: func(l launch, _ Host) bool { return len(l.backends) > 1 },
	},
	// Restrictive memory, too, is touched from CPUs of its nodes; and if the emulator is pinned, memory is touched only
	// from those of its nodes to whose CPUs it is pinned (qemuBuildThreadContextProps).
	{
		rule:    ruleRestrictiveThreads,
		libvirt: span{9_002_000, 9_002_000},
		needs:   ruleThreads,
		ends:    ruleThreads,
		matters: func(l launch, host Host) bool {
			// It also decides which backends are touched side by side.
			several := len(l.backends) > 1
			return slices.ContainsFunc(l.backends, func(b Backend) bool {
				return several && (b.Threads != nil || b.Pinned) || b.keptOff(host)
			})
		},
	},
	// The pages are touched from CPUs of their host nodes (thread-context), so one of these must have a CPU.
	{
		rule:    ruleThreads,
		libvirt: span{8_010_000, 8_010_000},
		qemu:    span{7_002_000, 7_002_000},
		matters: func(l launch, host Host) bool {
			return slices.ContainsFunc(l.backends, func(b Backend) bool { return b.keptOff(host) })
		},
	},
	// A memory device's own nodemask is strict. Before, it took the mode of its cell or of numatune/memory (libvirt's
	// NEWS of 12.0, "Treat memory device source nodemask as strict NUMA policy").
	{
		rule:    ruleNodemask,
		libvirt: span{12_000_000, 12_000_000},
		matters: func(l launch, _ Host) bool {
			return l.formedBy(ruleNodemask)
		},
	},
	// RAM without cells is a backend. It takes a QEMU that names it (default-ram-id, qapi/machine.json "since 5.2"), and a
	// libvirt that asks (qemuBuildMemCommandLine): 7.0 does. Before, it is -mem-path, which is bound to no nodes.
	{
		rule:    ruleRAM,
		libvirt: span{6_000_000, 7_000_000},
		qemu:    span{5_002_000, 5_002_000},
		matters: func(l launch, _ Host) bool { return l.formedBy(ruleRAM) },
	},
	// virtio-mem reserves no pages when it is mapped (reserve=off, qapi/qom.json "since 6.1").
	{
		rule:    ruleUnreserved,
		qemu:    span{6_001_000, 6_001_000},
		matters: func(l launch, _ Host) bool { return l.formedBy(ruleUnreserved) },
	},
	// A reservation counts the free pages of the nodes that the process's own policy allows (allowed_mems_nr, Linux 5.9).
	{
		rule:    rulePolicy,
		kernel:  span{5_009_000, 5_009_000},
		matters: func(l launch, _ Host) bool { return l.cpuset.Nodes != nil },
	},
	// libvirt confines QEMU before it runs, not when it has its memory (libvirt 5.1, qemuProcessLaunch).
	{
		rule:     ruleConfinedFirst,
		libvirt:  span{5_001_000, 5_001_000},
		confines: func(c Cpuset) bool { return c.Nodes != nil },
	},
	// A memfd is on huge pages where the domain asks for them. Before, it was not (libvirt's NEWS of 5.3, "Make hugepages
	// work with memfd backend").
	{
		rule:    ruleMemfd,
		libvirt: span{5_003_000, 5_003_000},
		matters: func(l launch, _ Host) bool { return l.formedBy(ruleMemfd) },
	},
}

// assumed are the rules that a host of unknown releases is taken to have. Without them hardly a launch fails that is
// allowed with them; and they are so old that to warn in place of refusing would be wrong nearly everywhere.
const assumed rules = ruleRAM | rulePolicy | ruleConfinedFirst | ruleMemfd

// formed returns the rules that decide what libvirt makes of the backend.
func (b Backend) formed() (by rules) {
	if b.Nodemask.Nodes != nil {
		by |= ruleNodemask
	}
	if b.Whole && (b.Policy != PolicyDefault || b.Threads != nil || b.Memfd) {
		by |= ruleRAM
	}
	if b.Device == VirtioMem {
		by |= ruleUnreserved
	}
	if b.Memfd {
		by |= ruleMemfd
	}
	return by
}

// formedBy reports whether a rule decides what libvirt makes of some backend.
func (l launch) formedBy(rule rules) bool {
	return slices.ContainsFunc(l.backends, func(b Backend) bool { return b.formed().has(rule) })
}

// under returns the backend as libvirt makes it under some rules; huge is false where it is not on huge pages then.
func (b Backend) under(r rules) (formed Backend, huge bool) {
	by := b.formed()
	if by.has(ruleNodemask) && r.has(ruleNodemask) {
		b.Policy, b.Strength, b.HostNodes, b.From = PolicyBind, Hard, b.Nodemask.Nodes, b.Nodemask.From
		b.Threads, b.Cpuset, b.Auto, b.Nodemask = nil, nil, false, Nodemask{}
	}
	if by.has(ruleRAM) && !r.has(ruleRAM) {
		if b.Policy == PolicyBind {
			b.Cpuset = b.HostNodes // which the cpuset keeps
		}
		b.Policy, b.HostNodes, b.Threads, b.Memfd, b.Global = PolicyDefault, nil, nil, false, true
		if b.Cpuset == nil && !b.Auto {
			b.Strength = Soft
		}
	}
	if by.has(ruleUnreserved) && !r.has(ruleUnreserved) {
		b.Lazy, b.Pages = true, b.pages()
	}
	return b, !b.Memfd || r.has(ruleMemfd)
}

// settle returns the backend as libvirt makes it where that is certain, and else as it is.
func (k Releases) settle(b Backend) (formed Backend, huge bool) {
	by := b.formed()
	if by == 0 {
		return b, true
	}
	all := k.rules()
	for _, r := range all {
		if r&by != all[0]&by {
			return b, true
		}
	}
	return b.under(all[0])
}

// keptOff reports whether there is a node on none of whose CPUs QEMU may run to prepare the backend.
func (b Backend) keptOff(host Host) bool {
	cpus := host.inheritedCPUs(ruleCpuset).and(b.PinnedTo)
	return slices.ContainsFunc(host.Nodes, func(n Node) bool { return !n.runsOn(cpus) })
}

// rulesThatMatter returns the rules that can change the fate of the launch: nearly always they are few.
func (l launch) rulesThatMatter(host Host) rules {
	matter := host.confining()
	for i := range table {
		row := &table[i]
		if row.confines != nil && row.confines(l.cpuset) || row.matters != nil && row.matters(l, host) {
			matter |= row.rule
		}
	}
	return matter
}

// confining returns the rules that can change where the pages of starting guests come from.
func (h Host) confining() rules {
	var matter rules
	for _, s := range h.Starting {
		for _, c := range s.Claims {
			for i := range table {
				if row := &table[i]; row.confines != nil && row.confines(c.Cpuset) {
					matter |= row.rule
				}
			}
		}
	}
	return matter
}

// rules returns the sets of rules that may hold, the oldest first: one for each combination of what libvirt and QEMU
// may have, without the cpuset controller and with it.
func (k Releases) rules() []rules {
	libvirts, qemus, kernels := k.Libvirt.may(ofLibvirt), k.QEMU.may(ofQEMU), k.Kernel.may(ofKernel)
	if k.Kernel == (Release{}) { // each host says it; a capture may not have kept it
		kernels = ofKernel.at(^Version(0))
	}
	all := make([]rules, 0, 2*len(libvirts)*len(qemus)*len(kernels))
	for _, cpuset := range []rules{0, ruleCpuset} {
		if k.Cpuset != nil && *k.Cpuset != (cpuset != 0) {
			continue
		}
		for _, libvirt := range libvirts {
			for _, qemu := range qemus {
				for _, kernel := range kernels {
					all = append(all, k.QEMU.found(libvirt&qemu&kernel&^ruleCpuset|cpuset).consistent())
				}
			}
		}
	}
	return all
}

// found returns rules as what libvirt has found out about QEMU makes them, which goes before what a release should have.
func (r Release) found(some rules) rules {
	for _, fact := range []struct {
		known Known
		rule  rules
	}{{r.ThreadContext, ruleThreads}, {r.Reserve, ruleUnreserved}, {r.DefaultRAM, ruleRAM}} {
		switch fact.known {
		case Yes:
			some |= fact.rule
		case No:
			some &^= fact.rule
		}
	}
	return some
}

// consistent returns the rules without those that lack what they need.
func (r rules) consistent() rules {
	for i := range table {
		if !r.has(table[i].needs) {
			r &^= table[i].rule
		}
	}
	return r
}

// project is one whose releases have rules: its spans in the table.
type project func(*row) span

// The projects.
var (
	ofLibvirt project = func(r *row) span { return r.libvirt }
	ofQEMU    project = func(r *row) span { return r.qemu }
	ofKernel  project = func(r *row) span { return r.kernel }
)

// began returns the releases that changed a rule, the oldest first; 0 is what was before them.
func (p project) began() []Version {
	versions := []Version{0}
	for i := range table {
		span := p(&table[i])
		versions = append(versions, span.perhaps, span.surely)
	}
	slices.Sort(versions)
	return slices.Compact(versions)
}

// at returns the sets of rules that a release may have, as far as that depends on the project, the oldest first.
func (p project) at(release Version) (sets []rules) {
	var surely, perhaps rules
	for i := range table {
		switch span := p(&table[i]); {
		case span.surely <= release:
			surely |= table[i].rule
		case span.perhaps <= release:
			perhaps |= table[i].rule
		}
	}
	for _, some := range perhaps.subsets() {
		sets = append(sets, surely|some)
	}
	return sets
}

// since returns the sets of rules that a release or any after it may have.
func (p project) since(release Version) []rules {
	sets := p.at(release)
	for _, later := range p.began() {
		if later <= release {
			continue
		}
		for _, set := range p.at(later) {
			if !slices.Contains(sets, set) {
				sets = append(sets, set)
			}
		}
	}
	return sets
}

// may returns the sets of rules that a release may have, as far as that depends on the project.
func (r Release) may(p project) []rules {
	switch {
	case r.Version == 0:
		return slices.DeleteFunc(p.since(0), func(set rules) bool { return !set.has(assumed) })
	case r.Patched:
		return p.since(r.Version)
	}
	return p.at(r.Version)
}

// subsets returns every subset of a few rules, the empty one first.
func (r rules) subsets() []rules {
	all := []rules{0}
	for ; r != 0; r &= r - 1 {
		lowest := rules(1) << bits.TrailingZeros32(uint32(r))
		for _, known := range all {
			all = append(all, known|lowest)
		}
	}
	return all
}

// condition is met where some rules hold and others do not.
type condition struct{ yes, no rules }

// met reports whether the condition is met under some rules.
func (c condition) met(r rules) bool { return r.has(c.yes) && r&c.no == 0 }

// conditions returns what [decisive] tries.
func conditions() []condition {
	var all []condition
	for i := range table {
		all = append(all, condition{yes: table[i].rule}, condition{no: table[i].rule})
	}
	for i := range table {
		if ends := table[i].ends; ends != 0 {
			all = append(all, condition{yes: ends, no: table[i].rule})
		}
	}
	return all
}

// decisive returns the one or two conditions that are met exactly where a launch fails, given its fate under each of
// all sets of rules that may hold; nil if it takes more.
func decisive(all []rules, fails []bool) []Combinations {
	decide := func(a, b condition) bool {
		for i, r := range all {
			if fails[i] != (a.met(r) && b.met(r)) {
				return false
			}
		}
		return true
	}
	conditions := conditions()
	for _, a := range conditions {
		if decide(a, a) {
			return []Combinations{a.combinations()}
		}
	}
	for i, a := range conditions {
		for _, b := range conditions[i+1:] {
			if decide(a, b) {
				return []Combinations{b.combinations(), a.combinations()}
			}
		}
	}
	return nil
}

// combinations returns where a condition is met that has at most one rule of each kind.
func (c condition) combinations() Combinations {
	rule := c.yes | c.no
	if c.yes != 0 {
		rule = c.yes
	}
	row := rule.row()
	of := Combinations{Cpuset: (rule | row.needs).has(ruleCpuset), Others: c.yes == 0}
	of.Libvirt.Since, of.QEMU.Since, of.Kernel.Since = row.since()
	if c.yes != 0 && c.no != 0 {
		until := c.no.row()
		of.Libvirt.Until, of.QEMU.Until, of.Kernel.Until = until.libvirt.surely, until.qemu.surely, until.kernel.surely
	}
	return of
}

// row returns the row of one rule.
func (r rules) row() *row { return &table[bits.TrailingZeros32(uint32(r))] }

// since returns the first releases that surely have what the rule takes, and what it needs.
func (r *row) since() (libvirt, qemu, kernel Version) {
	libvirt, qemu, kernel = r.libvirt.surely, r.qemu.surely, r.kernel.surely
	for i := range table {
		if needed := &table[i]; r.needs.has(needed.rule) {
			libvirt, qemu, kernel = max(libvirt, needed.libvirt.surely), max(qemu, needed.qemu.surely), max(kernel, needed.kernel.surely)
		}
	}
	return libvirt, qemu, kernel
}

// parts returns every part of what is known, the smallest first.
func (k Releases) parts() []Releases {
	parts := []Releases{
		{},
		{Cpuset: k.Cpuset}, {Libvirt: k.Libvirt}, {QEMU: k.QEMU},
		{Libvirt: k.Libvirt, QEMU: k.QEMU}, {Libvirt: k.Libvirt, Cpuset: k.Cpuset}, {QEMU: k.QEMU, Cpuset: k.Cpuset},
		{Libvirt: k.Libvirt, QEMU: k.QEMU, Cpuset: k.Cpuset},
	}
	for _, part := range parts { // the kernel decides least
		part.Kernel = k.Kernel
		parts = append(parts, part)
	}
	return parts
}
