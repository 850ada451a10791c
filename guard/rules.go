package guard

import (
	"fmt"
	"slices"
	"strings"
)

// rules are what differs between the releases of libvirt and QEMU in whether
// a launch succeeds. The two are packaged apart, so nearly every combination
// is out there. A guard that does not know which it serves refuses only what
// fails under all of them and warns of what fails under some.
type rules struct {
	// cpuset: libvirt may use the cpuset controller. Without it strict is
	// kept by the process's own policy and restrictive by nothing.
	cpuset bool
	// restrictive: libvirt then uses it for restrictive, too.
	restrictive bool
	// union: the cpuset of strict is the union with all memnodes, not
	// numatune/memory's own nodeset.
	union bool
	// threads: the pages are touched from CPUs of the host nodes
	// (thread-context), so one must have a CPU.
	threads bool
	// restrictiveThreads: the same for restrictive, and no more from nodes
	// without a CPU that the emulator is pinned to.
	restrictiveThreads bool
	// parallel: all backends are mapped first and then touched side by side,
	// not one after the other.
	parallel bool
	// exactFiles: a file backend must be a multiple of its page, not only one
	// that is bound.
	exactFiles bool
}

// only returns the rules without those that do not matter.
func (r rules) only(matters rules) rules {
	return rules{
		cpuset:             r.cpuset && matters.cpuset,
		restrictive:        r.restrictive && matters.restrictive,
		union:              r.union && matters.union,
		threads:            r.threads && matters.threads,
		restrictiveThreads: r.restrictiveThreads && matters.restrictiveThreads,
		parallel:           r.parallel && matters.parallel,
		exactFiles:         r.exactFiles && matters.exactFiles,
	}
}

// change is a release that changed the rules.
type change struct {
	rules
	// since is the release that surely has them, some the first that may: the
	// one that began with it, or whose stable series may have been given it.
	some, since Version
}

// The releases with rules of their own, the oldest first.
const (
	libvirtRestrictiveBegun   Version = 7_003_000 // the first with that mode
	libvirtThreads            Version = 8_010_000
	libvirtRestrictive        Version = 9_000_000
	libvirtRestrictiveThreads Version = 9_002_000
	libvirtUnionBegun         Version = 9_004_000
	libvirtUnion              Version = 9_005_000

	qemuThreads    Version = 7_002_000
	qemuParallel   Version = 9_000_000
	qemuExactFiles Version = 9_001_000
)

var libvirts = []change{
	{},
	{rules{restrictive: true}, libvirtRestrictiveBegun, libvirtThreads},
	{rules{threads: true}, libvirtThreads, libvirtThreads},
	{rules{threads: true, restrictive: true}, libvirtThreads, libvirtRestrictive},
	{rules{threads: true, restrictive: true, restrictiveThreads: true}, libvirtRestrictiveThreads, libvirtRestrictiveThreads},
	{rules{threads: true, restrictive: true, restrictiveThreads: true, union: true}, libvirtUnionBegun, libvirtUnion},
}

var qemus = []change{
	{},
	{rules{threads: true}, qemuThreads, qemuThreads},
	{rules{threads: true, parallel: true}, qemuParallel, qemuParallel},
	{rules{threads: true, parallel: true, exactFiles: true}, qemuParallel, qemuExactFiles},
}

// of returns the changes that may be the newest that a release has.
func (r Release) of(changes []change) []change {
	first, last := 0, len(changes)-1
	for i, c := range changes {
		if r.Version != 0 && c.since <= r.Version {
			first = i
		}
	}
	for r.Version != 0 && !r.Patched && changes[last].some > r.Version {
		last--
	}
	return changes[first : last+1]
}

// rules returns the rules that may hold, the newest last.
func (k Releases) rules() []rules {
	all := make([]rules, 0, 2*len(libvirts)*len(qemus))
	for _, cpuset := range []bool{false, true} {
		if k.Cpuset != nil && *k.Cpuset != cpuset {
			continue
		}
		for _, libvirt := range k.Libvirt.of(libvirts) {
			for _, qemu := range k.QEMU.of(qemus) {
				threads := libvirt.threads && qemu.threads
				all = append(all, rules{
					cpuset:             cpuset,
					restrictive:        cpuset && libvirt.restrictive,
					union:              libvirt.union,
					threads:            threads,
					restrictiveThreads: threads && libvirt.restrictiveThreads,
					parallel:           threads && qemu.parallel,
					exactFiles:         qemu.exactFiles,
				})
			}
		}
	}
	return all
}

// literal is a rule that holds or does not, and when that is the case.
type literal struct {
	of   func(rules) bool
	text string
}

func either(of func(rules) bool, yes, no string) []literal {
	return []literal{{of, yes}, {func(r rules) bool { return !of(r) }, no}}
}

// from says in words when a release has what came with a version, and when it
// does not; "" where it has it for certain.
func (r Release) from(name string, since Version) (yes, no string) {
	switch {
	case since == 0 || r.Version >= since:
		return "", ""
	case r.Version == 0:
		return fmt.Sprintf("%s %s or later", name, since.short()), fmt.Sprintf("%s before %s", name, since.short())
	}
	return fmt.Sprintf("%s %s if it has what %s changed", name, r.Version, since.short()),
		fmt.Sprintf("%s %s if it lacks what %s changed", name, r.Version, since.short())
}

// from says in words when libvirt and QEMU have what came with some versions
// of theirs (0: with none), and when they do not, as far as that is open.
func (k Releases) from(libvirt, qemu Version) (yes, no string) {
	has, hasNot := k.Libvirt.from("libvirt", libvirt)
	runs, runsNot := k.QEMU.from("QEMU", qemu)
	return with(" and ", has, runs), with(" or ", hasNot, runsNot)
}

// with joins those of some conditions that are any.
func with(by string, parts ...string) string {
	return "with " + strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), by)
}

// anywhere says the same of threads without restrictiveThreads: of memory that
// is prepared from the CPUs of its nodes wherever the emulator is pinned.
func (k Releases) anywhere() string {
	has, _ := k.Libvirt.from("libvirt", libvirtThreads)
	_, hasNot := k.Libvirt.from("libvirt", libvirtRestrictiveThreads)
	runs, _ := k.QEMU.from("QEMU", qemuThreads)
	switch {
	case k.Libvirt.Version == 0:
		has = fmt.Sprintf("libvirt %s to %s", libvirtThreads.short(), (libvirtRestrictiveThreads - 1).short())
	case has == "" && k.Libvirt.Patched:
		has = hasNot
	case k.Libvirt.Patched:
		has += fmt.Sprintf(" and lacks what %s did", libvirtRestrictiveThreads.short())
	}
	return with(" and ", has, runs)
}

// literals are in the order in which [Releases.condition] tries them.
func (k Releases) literals() []literal {
	since := func(of func(rules) bool, libvirt, qemu Version) []literal {
		yes, no := k.from(libvirt, qemu)
		return either(of, yes, no)
	}
	const using, notUsing = "where libvirt may use the cpuset controller", "where libvirt may not use the cpuset controller"
	confines, confinesNot := k.from(libvirtRestrictive, 0)
	if k.Cpuset == nil {
		confines, confinesNot = confines+" "+using, confinesNot+" or "+notUsing
	}
	return slices.Concat(
		either(func(r rules) bool { return r.cpuset }, using, notUsing),
		either(func(r rules) bool { return r.restrictive }, confines, confinesNot),
		since(func(r rules) bool { return r.union }, libvirtUnion, 0),
		since(func(r rules) bool { return r.exactFiles }, 0, qemuExactFiles),
		since(func(r rules) bool { return r.parallel }, libvirtThreads, qemuParallel),
		since(func(r rules) bool { return r.restrictiveThreads }, libvirtRestrictiveThreads, qemuThreads),
		since(func(r rules) bool { return r.threads }, libvirtThreads, qemuThreads),
		[]literal{{func(r rules) bool { return r.threads && !r.restrictiveThreads }, k.anywhere()}},
	)
}

// condition says in words under which rules a launch fails, given its fate
// under each of all that may hold: by one literal, by two together, or vaguely.
func (k Releases) condition(all []rules, fails []bool) string {
	decided := func(a, b literal) bool {
		for i, r := range all {
			if fails[i] != (a.of(r) && b.of(r)) {
				return false
			}
		}
		return true
	}
	literals := k.literals()
	for _, a := range literals {
		if decided(a, a) {
			return a.text
		}
	}
	for i, a := range literals {
		for _, b := range literals[i+1:] {
			if decided(a, b) {
				return b.text + " " + a.text
			}
		}
	}
	return "with some releases of libvirt and QEMU"
}

// parts returns every part of what is known, the smallest first.
func (k Releases) parts() []Releases {
	return []Releases{
		{},
		{Cpuset: k.Cpuset}, {Libvirt: k.Libvirt}, {QEMU: k.QEMU},
		{Libvirt: k.Libvirt, QEMU: k.QEMU}, {Libvirt: k.Libvirt, Cpuset: k.Cpuset}, {QEMU: k.QEMU, Cpuset: k.Cpuset},
		k,
	}
}
