package guard

import "slices"

// rules are what differs between the releases of libvirt and QEMU in whether
// a launch succeeds. The two are packaged apart, so nearly every combination
// is out there. A guard that does not know which it serves refuses only what
// fails under all of them and warns of what fails under some.
type rules struct {
	// cpuset: libvirt may use the cpuset controller. Without it strict is
	// kept by the process's own policy and restrictive by nothing.
	cpuset bool
	// union: the cpuset of strict is the union with all memnodes (libvirt
	// 9.5), not numatune/memory's own nodeset.
	union bool
	// threads: the pages are touched from CPUs of the host nodes
	// (thread-context, QEMU 7.2 with libvirt 9.0), so one must have a CPU.
	threads bool
	// restrictiveThreads: the same for restrictive (libvirt 9.2).
	restrictiveThreads bool
	// parallel: all backends are mapped first and then touched side by side
	// (QEMU 9.0), not one after the other.
	parallel bool
	// exactFiles: a file backend must be a multiple of its page (QEMU 9.1),
	// not only one that is bound.
	exactFiles bool
}

// only returns the rules without those that do not matter.
func (r rules) only(matters rules) rules {
	return rules{
		cpuset:             r.cpuset && matters.cpuset,
		union:              r.union && matters.union,
		threads:            r.threads && matters.threads,
		restrictiveThreads: r.restrictiveThreads && matters.restrictiveThreads,
		parallel:           r.parallel && matters.parallel,
		exactFiles:         r.exactFiles && matters.exactFiles,
	}
}

// allRules are the combinations that exist, the newest last.
var allRules = func() []rules {
	var all []rules
	libvirts := []rules{
		{},              // up to 8.x
		{threads: true}, // 9.0
		{threads: true, restrictiveThreads: true},              // 9.2
		{threads: true, restrictiveThreads: true, union: true}, // 9.5
	}
	qemus := []rules{
		{},                              // up to 7.1
		{threads: true},                 // 7.2
		{threads: true, parallel: true}, // 9.0
		{threads: true, parallel: true, exactFiles: true}, // 9.1
	}
	for _, cpuset := range []bool{false, true} {
		for _, libvirt := range libvirts {
			for _, qemu := range qemus {
				threads := libvirt.threads && qemu.threads
				all = append(all, rules{
					cpuset:             cpuset,
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
}()

// literal is a rule that holds or does not, and when that is the case.
type literal struct {
	of   func(rules) bool
	text string
}

func either(of func(rules) bool, yes, no string) []literal {
	return []literal{{of, yes}, {func(r rules) bool { return !of(r) }, no}}
}

// literals are in the order in which [condition] tries them.
var literals = slices.Concat(
	either(func(r rules) bool { return r.cpuset },
		"where libvirt may use the cpuset controller", "where libvirt may not use the cpuset controller"),
	either(func(r rules) bool { return r.union }, "with libvirt 9.5 or later", "with libvirt before 9.5"),
	either(func(r rules) bool { return r.exactFiles }, "with QEMU 9.1 or later", "with QEMU before 9.1"),
	either(func(r rules) bool { return r.parallel }, "with QEMU 9.0 or later", "with QEMU before 9.0"),
	either(func(r rules) bool { return r.restrictiveThreads },
		"with libvirt 9.2 and QEMU 7.2 or later", "with libvirt before 9.2 or QEMU before 7.2"),
	either(func(r rules) bool { return r.threads },
		"with libvirt 9.0 and QEMU 7.2 or later", "with libvirt before 9.0 or QEMU before 7.2"),
)

// condition says in words under which rules a launch fails, given its fate
// under each of all: by one literal, by two together, or vaguely.
func condition(all []rules, fails []bool) string {
	decided := func(a, b literal) bool {
		for i, r := range all {
			if fails[i] != (a.of(r) && b.of(r)) {
				return false
			}
		}
		return true
	}
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
