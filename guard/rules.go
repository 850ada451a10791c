package guard

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

// conditions names, for each rule, when it holds and when it does not, for the
// findings of a launch that it decides.
var conditions = []struct {
	of      func(rules) bool
	yes, no string
}{
	{func(r rules) bool { return r.cpuset },
		"where libvirt may use the cpuset controller", "where libvirt may not use the cpuset controller"},
	{func(r rules) bool { return r.union }, "with libvirt 9.5 or later", "with libvirt before 9.5"},
	{func(r rules) bool { return r.exactFiles }, "with QEMU 9.1 or later", "with QEMU before 9.1"},
	{func(r rules) bool { return r.parallel }, "with QEMU 9.0 or later", "with QEMU before 9.0"},
	{func(r rules) bool { return r.restrictiveThreads },
		"with libvirt 9.2 and QEMU 7.2 or later", "with libvirt before 9.2 or QEMU before 7.2"},
	{func(r rules) bool { return r.threads },
		"with libvirt 9.0 and QEMU 7.2 or later", "with libvirt before 9.0 or QEMU before 7.2"},
}

// condition says in words under which rules a launch fails, given the fate
// under each of all.
func condition(all []rules, fails []bool) string {
	for _, c := range conditions {
		yes, no := true, true
		for i, r := range all {
			yes = yes && fails[i] == c.of(r)
			no = no && fails[i] != c.of(r)
		}
		switch {
		case yes:
			return c.yes
		case no:
			return c.no
		}
	}
	return "with some releases of libvirt and QEMU"
}
