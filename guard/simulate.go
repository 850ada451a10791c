package guard

import (
	"fmt"
	"slices"
	"strings"
)

// failure is why a launch must fail under some rules. A shortage has Nodes
// and counts; any other failure has its cause.
type failure struct {
	code    string
	cause   Cause   // "" for a shortage: who holds the pages decides
	backend string  // the id of the first backend that is in trouble
	nodes   NodeSet // where the pages would have to lie
	pageKiB uint64
	needed  uint64
	free    uint64
	// claimed is how many of the free pages are for domains that are starting.
	claimed uint64
	message string // for other failures than a shortage: what QEMU would stumble over
	// releases names what had to be known for the failure to be certain; ""
	// where it is so with any.
	releases string
	// keeper is the file that keeps QEMU to the nodes, where the domain's own
	// tuning would let it go elsewhere.
	keeper string
	// total is of a failure by a limit: the limit itself, in pages.
	total uint64
	// remedy is what mends a failure other than a shortage: the command that
	// raises a limit, or what to change in the domain, in words. "" for none.
	remedy string
}

// Codes of findings. They are part of the JSON output.
const (
	codeNodeShort    = "node-short"        // nodes have too few free pages
	codeReserved     = "reserved"          // the free pages are promised to others
	codePageSize     = "page-size"         // the kernel has no such pages
	codeSize         = "size-mismatch"     // a size that is no multiple of its page
	codeBinding      = "binding"           // a binding that fails whatever is free
	codeOvercommit   = "overcommit"        // it fits only with surplus pages
	codeOrder        = "order"             // it depends on who takes which page first
	codeSpill        = "spill"             // pages will lie on other nodes than wished
	codeAuto         = "placement-auto"    // numad chooses the nodes later
	codeGrow         = "virtio-mem"        // the guest cannot grow as far as it is to
	codeDefault      = "default-page-size" // it depends on the page size that libvirt takes where none is named
	codeRestore      = "restore"           // it fails at the size to which a cold start rounds
	codeSome         = "release"           // it fails with some releases only
	codeNovaDrift    = "nova-drift"        // Nova believes other pages free than are
	codeNovaStale    = "nova-stale"        // nova-compute has not read its configuration since it was changed
	codeMountLimit   = "mount-limit"       // size= of the hugetlbfs mount
	codeCgroupLimit  = "cgroup-limit"      // a control group's limit on huge pages
	codeCgroup       = "cgroup"            // it depends on the control group that QEMU is put into
	codeStarting     = "starting"          // it depends on domains that are starting
	codeHidden       = "hidden-mount"      // QEMU's files will not lie on huge pages
	codeHooks        = "other-hooks"       // it depends on what other hooks do
	codeTooMany      = "too-many"          // QEMU takes no guest with so many cells or memory devices
	codeLeftToOthers = "left-to-libvirt"   // libvirt itself will refuse, and say why
)

// placed is a backend with the nodes that the kernel will let it use.
type placed struct {
	Backend
	// wanted are the nodes that its policy names, as far as they have memory
	// and the cpuset allows them; nil where it names none.
	wanted NodeSet
	// allowed are the nodes that its pages may lie on.
	allowed NodeSet
}

// simulation is one launch under one set of rules.
type simulation struct {
	rules rules
	host  Host
	// inherited are the nodes with memory that the control groups above QEMU's
	// leave it, confined those of them that its own cpuset leaves it, and bound
	// those that the process's own policy leaves it.
	inherited, confined, bound NodeSet

	tuned    NodeSet // what libvirt confines QEMU to, nil for nothing
	backends []placed
}

// simulate plays a launch under given rules and returns why it must fail, the
// first first, or else what might still go wrong.
func simulate(r rules, backends []Backend, cpuset Cpuset, host Host) ([]failure, []Finding) {
	s := simulation{rules: r, host: host, inherited: host.inherited(r), backends: make([]placed, 0, len(backends))}
	if r.has(ruleCpuset) && host.cgroup().Legacy && len(cpuset.of(r).And(s.inherited)) < len(cpuset.of(r)) {
		// Version 1 refuses a cpuset with nodes that the group above lacks,
		// and libvirt says so.
		return nil, nil
	}
	s.confined, s.bound = s.confinement(cpuset)
	s.tuned = cpuset.of(r)
	for _, b := range backends {
		if f := unsupported(b, host); f != nil {
			return []failure{*f}, nil
		}
		if f := s.mismatch(b); f != nil {
			return []failure{*f}, nil
		}
		p, f := s.place(b)
		if f != nil {
			return []failure{*f}, nil
		}
		s.backends = append(s.backends, p)
	}
	var limits, shortages []failure
	risks := s.strays(cpuset)
	for _, pool := range host.Pools {
		of := slices.DeleteFunc(slices.Clone(s.backends), func(p placed) bool {
			return p.PageKiB != pool.PageKiB || p.Pages == 0
		})
		if len(of) == 0 {
			continue
		}
		met, mountRisk := s.limits(pool, of)
		limits = append(limits, met...)
		risks = append(risks, mountRisk...)
		if short := s.certain(pool, of); short != nil {
			shortages = append(shortages, short...)
		} else {
			risks = append(risks, s.risks(pool, of)...)
		}
	}
	// What no freed page would mend comes first.
	return append(limits, shortages...), risks
}

// strays warns of backends with nodes of their own where numad will choose
// those that QEMU is confined to: mbind() refuses others under a cpuset, and mmap() may in any case.
func (s simulation) strays(cpuset Cpuset) []Finding {
	if !cpuset.Auto {
		return nil
	}
	var found []Finding
	for _, b := range s.backends {
		if len(s.inherited.without(b.wanted)) == 0 || b.wanted == nil {
			continue
		}
		pool, _ := s.host.pool(b.PageKiB)
		found = append(found, newFinding(codeAuto, SeverityWarn, pool, b.wanted, b.Pages,
			fmt.Sprintf("numad chooses the nodes that QEMU is kept to after this check: without %s among them %s cannot have its pages", b.wanted.in(), b.ID)))
	}
	return found
}

// confinement returns the nodes that QEMU's cpuset leaves it, and those of them
// that its own policy leaves it. libvirt keeps strict by the cpuset
// (qemuProcessSetupPid), or by the process's policy where it may not use that
// controller (qemuProcessHook): such a policy counts for the reservation and
// for memory without a policy of its own, and for no other. A cpuset with no
// node that it may have does not take effect: cgroup v2 falls back to the
// parent's.
func (s simulation) confinement(cpuset Cpuset) (confined, bound NodeSet) {
	nodes := cpuset.of(s.rules)
	if nodes == nil {
		return s.inherited, s.inherited
	}
	if !s.rules.has(ruleCpuset) {
		return s.inherited, s.rebound(nodes)
	}
	if limited := nodes.And(s.inherited); len(limited) > 0 {
		return limited, limited
	}
	return s.inherited, s.inherited
}

// rebound is a process's policy once libvirt has moved the process below its
// control group, which it does after setting the policy: the kernel gives each
// node the one of the same rank among those that are left, and begins anew
// after the last (mpol_rebind_nodemask). A policy of nodes without memory was
// not set in the first place.
func (s simulation) rebound(policy NodeSet) NodeSet {
	bound := NodeSet{}
	for rank, node := range s.host.memoryNodes() {
		if policy.Has(node) {
			bound = bound.Or(NodeSet{s.inherited[rank%len(s.inherited)]})
		}
	}
	if len(bound) == 0 {
		return s.inherited
	}
	return bound
}

// refused is a failure that has nothing to do with who holds what. Its counts
// are those of the nodes that the backend may use.
func (s simulation) refused(code string, cause Cause, b Backend, format string, args ...any) *failure {
	nodes := b.HostNodes
	if nodes == nil {
		nodes = s.bound
	}
	pool, _ := s.host.pool(b.PageKiB)
	return &failure{code: code, cause: cause, backend: b.ID, nodes: nodes, pageKiB: b.PageKiB,
		needed: b.Pages, free: pool.on(nodes).Free, message: fmt.Sprintf(format, args...)}
}

// place settles where a backend's pages may lie, or why QEMU's mbind() or its
// thread-context refuses its nodes.
func (s simulation) place(b Backend) (placed, *failure) {
	refused := func(nodes NodeSet, why string) *failure {
		f := s.refused(codeBinding, CauseBindingImpossible, b, "%s cannot be bound to %s: %s", b.ID, nodes.in(), why)
		f.nodes = nodes
		for _, among := range []NodeSet{s.confined, s.inherited} {
			able := slices.DeleteFunc(slices.Clone(among), func(node int) bool { return nodes.Has(node) || !s.host.hasCPU(NodeSet{node}, s.cpus(b)) })
			if len(able) > 0 {
				f.remedy = fmt.Sprintf("bind %s to %s", b.ID, able.in())
				break
			}
		}
		return f
	}
	p := placed{Backend: b, allowed: s.confined}
	if b.Policy == PolicyDefault {
		p.allowed = s.bound
	}
	if nodes, why := s.unprepared(b); why != "" {
		f := refused(nodes, why+", and QEMU prepares memory from the CPUs of its nodes")
		if s.host.hasCPU(nodes, s.host.inheritedCPUs(s.rules)) {
			f.remedy = fmt.Sprintf("pin the emulator to CPUs of %s, too (cputune/emulatorpin)", nodes.in())
		}
		return p, f
	}
	if b.Policy == PolicyDefault {
		return p, nil
	}
	if b.Auto {
		// numad may still choose any of them.
		return p, nil
	}
	p.wanted = b.HostNodes.And(s.confined)
	if len(p.wanted) == 0 {
		if len(b.HostNodes.And(s.host.memoryNodes())) == 0 {
			return p, refused(b.HostNodes, "no memory belongs there")
		}
		if len(b.HostNodes.And(s.inherited)) == 0 {
			return p, refused(b.HostNodes, fmt.Sprintf("%s keeps QEMU to %s", shown(s.host.cgroup().NodesFile), s.inherited.in()))
		}
		return p, refused(b.HostNodes, fmt.Sprintf("libvirt confines QEMU to %s, as numatune/memory says", s.confined.in()))
	}
	if b.Policy == PolicyBind {
		p.allowed = p.wanted
	}
	return p, nil
}

// preparedFrom returns the nodes from whose CPUs QEMU is to prepare a backend,
// where it can; none of one without a thread-context.
func (s simulation) preparedFrom(b Backend) NodeSet {
	// virtio-mem is not allocated at the start, so nothing prepares it.
	if b.Device == VirtioMem || b.Global {
		return nil
	}
	nodes := b.HostNodes
	if s.rules.has(ruleRestrictiveThreads) {
		if b.Threads != nil {
			nodes = b.Threads
		}
		if b.Pinned {
			nodes = nodes.And(s.host.nodesOf(b.PinnedTo))
		}
	}
	return nodes
}

// unprepared returns the nodes from whose CPUs QEMU is to prepare a backend, and
// why its thread-context cannot run there, "" where it can
// (thread_context_set_node_affinity): there is none, or the cpuset has none.
func (s simulation) unprepared(b Backend) (nodes NodeSet, why string) {
	if !s.rules.has(ruleThreads) {
		return nil, ""
	}
	nodes = s.preparedFrom(b)
	switch inherited := s.host.inheritedCPUs(s.rules); {
	case len(nodes) == 0:
		return nil, ""
	case !s.host.hasCPU(nodes, nil):
		why = "no CPU belongs there"
	case !s.host.hasCPU(nodes, inherited):
		why = fmt.Sprintf("%s keeps QEMU to %s, none of them there", shown(s.host.cgroup().CPUsFile), inherited.in())
	case !s.host.hasCPU(nodes, s.cpus(b)):
		why = fmt.Sprintf("QEMU is pinned to %s, none of them there", b.PinnedTo.in())
	}
	return nodes, why
}

// cpus returns the CPUs that the cpuset leaves QEMU's own threads. Without one of
// the domain's they can go elsewhere than libvirt has put them.
func (s simulation) cpus(b Backend) CPUSet {
	inherited := s.host.inheritedCPUs(s.rules)
	if !s.rules.has(ruleCpuset) {
		return inherited
	}
	return inherited.and(b.PinnedTo)
}

// unsupported is the failure of a memfd of pages that the kernel does not
// have. For files libvirt looks for a mount, which only such a kernel has.
func unsupported(b Backend, host Host) *failure {
	if !b.Memfd || slices.Contains(host.Sizes, b.PageKiB) {
		return nil
	}
	sizes := make([]string, len(host.Sizes))
	for i, kib := range host.Sizes {
		sizes[i] = Size(kib)
	}
	has, remedy := "no huge pages at all", ""
	if len(sizes) > 0 {
		has = strings.Join(sizes, ", ")
		remedy = fmt.Sprintf("give %s pages of %s (memoryBacking/hugepages, in a flavor hw:mem_page_size)", b.ID, strings.Join(sizes, " or "))
	}
	return &failure{code: codePageSize, cause: CausePageSizeUnsupported, backend: b.ID, pageKiB: b.PageKiB, needed: b.Pages, remedy: remedy,
		message: fmt.Sprintf("%s wants huge pages of %s, and this kernel has %s", b.ID, Size(b.PageKiB), has)}
}

// mismatch returns why QEMU cannot make a backend of that size from pages of
// that size. Both the size that a cold start rounds to and the one that a
// restore uses must be impossible: the hook cannot tell which it is.
func (s simulation) mismatch(b Backend) *failure {
	page := b.PageKiB * 1024
	unit, name := page, Size(b.PageKiB)+" page"
	if b.Block > b.PageKiB {
		unit, name = b.Block*1024, Size(b.Block)+" block"
	}
	if b.Block != 0 && b.Block < b.PageKiB { // virtio_mem_device_realize
		f := s.refused(codeSize, CauseSizeMismatch, b, "%s is plugged in blocks of %s, less than its page of %s", b.ID, Size(b.Block), Size(b.PageKiB))
		f.remedy = fmt.Sprintf("make the blocks of %s %s", b.ID, Size(b.PageKiB))
		return f
	}
	var why string
	for _, bytes := range []uint64{b.ExactBytes, b.Bytes} {
		switch size := Size(bytes / 1024); {
		case bytes < page:
			why = fmt.Sprintf("%s is %s, less than one page of %s", b.ID, size, Size(b.PageKiB))
		case bytes%unit == 0:
			return nil
		case b.Memfd, b.Device != "", s.rules.has(ruleExactFiles):
			why = fmt.Sprintf("%s is %s, no multiple of its %s, as QEMU wants it to be", b.ID, size, name)
		case b.Policy != PolicyDefault:
			nodes := "the nodes that numad chooses"
			if !b.Auto {
				nodes = b.HostNodes.in()
			}
			why = fmt.Sprintf("%s is %s, no multiple of its %s page, so that the kernel cannot bind it to %s", b.ID, size, Size(b.PageKiB), nodes)
		default:
			return nil
		}
	}
	f := s.refused(codeSize, CauseSizeMismatch, b, "%s", why)
	f.remedy = fmt.Sprintf("make %s %s", b.ID, Size((b.Bytes/unit+1)*unit/1024))
	return f
}

// certain returns the shortages that no order of events and no choice of nodes
// can avoid: the tests of the kernel's hugetlb_acct_memory() at mmap and
// alloc_hugetlb_folio() at touch, taken at their most lenient.
func (s simulation) certain(pool SizePool, backends []placed) []failure {
	short := func(backend, code string, nodes NodeSet, needed uint64) failure {
		return failure{code: code, backend: backend, nodes: nodes, pageKiB: pool.PageKiB, needed: needed, free: pool.on(nodes).Free}
	}
	kept := func(b placed, nodes NodeSet, needed uint64) failure {
		f := short(b.ID, codeNodeShort, nodes, needed)
		f.keeper = s.keeper(b, nodes)
		return f
	}

	// Touch: the pages of each backend from its own nodes, surplus included.
	// Those who are starting come before it. What is short is told in full:
	// all who can use no other nodes, and after them what is short elsewhere.
	var shortages []failure
	starting := sure(s.host.claims(pool, s.rules))
	free := pool.freeByNode()
	extra := pool.headroom()
	for left, ahead := backends, starting; ; ahead, extra = nil, 0 {
		lack := lacking(ahead, left, free, extra)
		if lack == nil {
			break
		}
		f := kept(left[lack.first], lack.nodes, lack.needed)
		f.claimed = min(lack.claimed, f.free)
		shortages = append(shortages, f)
		for _, node := range lack.nodes {
			free[node] = 0
		}
		left = lack.others
	}
	if shortages != nil {
		return shortages
	}
	// The reservation: all that is free, less what others were promised.
	all := pool.on(s.host.memoryNodes())
	claimed := unmapped(starting)
	if needed := sum(backends); needed > minus(all.Free+pool.headroom(), pool.Reserved+claimed) && !s.host.setAside(pool) {
		f := short(backends[0].ID, codeReserved, s.host.memoryNodes(), needed)
		f.claimed = min(claimed, f.free)
		return []failure{f}
	}
	if s.host.setAside(pool) {
		// What the mount has for it already is not asked of any node.
		return nil
	}
	// The reservation under a cpuset or a policy: free pages of its nodes, and
	// those that this reservation and the guest's earlier ones have added.
	// Surplus pages that the touch could still add do not count.
	bound := pool.on(s.bound)
	promised := pool.Reserved
	touched := newFlow(free, extra) // of the earlier ones that have taken theirs by then
	for i, b := range backends {
		promised += b.Pages
		if b.Pages > bound.Free+minus(promised, all.Free) {
			return []failure{kept(b, s.bound, b.Pages)}
		}
		if s.reservesElsewhere(b) {
			here := b
			here.allowed = s.bound
			if touched.clone().add(request{here.Pages, here.allowed}) != nil {
				before := slices.DeleteFunc(slices.Clone(backends[:i]), s.touchedLater)
				lack := lacking(nil, append(before, here), free, extra)
				return []failure{kept(here, lack.nodes, lack.needed)}
			}
		}
		if !s.touchedLater(b) {
			touched.add(request{b.Pages, b.allowed})
		}
	}
	return nil
}

// reservesElsewhere says whether a backend's pages are reserved on other nodes
// than they may lie on: a process's policy counts for the reservation, also of
// what is bound to other nodes then.
func (s simulation) reservesElsewhere(b placed) bool { return len(b.allowed.without(s.bound)) > 0 }

// touchedLater says whether a backend may have none of its pages yet when those
// after it are mapped: where all are touched side by side, which takes a
// thread-context.
func (s simulation) touchedLater(b placed) bool {
	return s.rules.has(ruleParallel) && len(s.preparedFrom(b.Backend)) > 0
}

// keeper names the file of the control group that keeps a backend to nodes, ""
// where the domain itself does or nothing needs to.
func (s simulation) keeper(b placed, nodes NodeSet) string {
	wanted := s.host.memoryNodes()
	if s.tuned != nil {
		wanted = s.tuned.And(wanted)
	}
	if b.Policy == PolicyBind && !b.Auto {
		wanted = b.HostNodes.And(wanted)
	}
	if len(wanted.And(nodes)) == len(wanted) {
		return ""
	}
	return s.host.cgroup().NodesFile
}

// lack is nodes that have too little for backends that can use no others.
type lack struct {
	nodes   NodeSet
	first   int      // the first backend that cannot be served
	needed  uint64   // by all backends that can use no other nodes
	claimed uint64   // by domains that are starting, the same
	others  []placed // backends that can use other nodes, too
}

// lacking returns what lacks for backends, and for those who are starting ahead
// of them; nil if nothing does, or these alone are too many.
func lacking(ahead []claimed, backends []placed, free map[int]uint64, extra uint64) *lack {
	requests := append(claimRequests(ahead), requests(backends)...)
	set := assign(requests, free, extra)
	if set == nil {
		return nil
	}
	if set[0] < len(ahead) {
		return nil // these cannot be served under such rules, and end by themselves
	}
	l := lack{first: set[0] - len(ahead)}
	for _, i := range set {
		if allowed := requests[i].allowed; !allowed.within(l.nodes) {
			l.nodes = l.nodes.Or(allowed)
		}
		if i < len(ahead) {
			l.claimed += ahead[i].pages
		}
	}
	for _, b := range backends {
		if b.allowed.within(l.nodes) {
			l.needed += b.Pages
		} else {
			l.others = append(l.others, b)
		}
	}
	return &l
}

// requests is what backends want of which nodes.
func requests(backends []placed) []request {
	list := make([]request, len(backends))
	for i, b := range backends {
		list[i] = request{pages: b.Pages, allowed: b.allowed}
	}
	return list
}

// sum is how many pages backends want together.
func sum(backends []placed) uint64 {
	var pages uint64
	for _, b := range backends {
		pages += b.Pages
	}
	return pages
}

// risks returns what may go wrong with a launch that can succeed.
func (s simulation) risks(pool SizePool, backends []placed) []Finding {
	var found []Finding
	warn := func(code string, nodes NodeSet, needed uint64, format string, args ...any) {
		found = append(found, newFinding(code, SeverityWarn, pool, nodes, needed, fmt.Sprintf(format, args...)))
	}
	memory := s.host.memoryNodes()
	all := pool.on(memory)
	page := Size(pool.PageKiB)
	needed := sum(backends)
	starting := s.host.claims(pool, s.rules)
	promised := pool.Reserved + unmapped(starting)
	if needed > minus(all.Free+pool.headroom(), promised) {
		warn(codeReserved, memory, needed,
			"it fits only if enough of the %d reserved %s pages are those that a hugetlbfs mount sets aside for it (min_size)", pool.Reserved, page)
		return found
	}
	fits := func(starting []claimed, extra uint64) bool {
		return assign(append(claimRequests(starting), requests(backends)...), pool.freeByNode(), extra) == nil
	}
	if !fits(starting, pool.headroom()) && fits(sure(starting), pool.headroom()) {
		warn(codeStarting, memory, needed,
			"it fits only if other guests that are starting (%s) have taken some of their %s pages already, which the kernel is clearing", named(s.host.clearing(pool.PageKiB)), page)
		return found
	}
	if needed > minus(all.Free, promised) || !fits(starting, 0) {
		warn(codeOvercommit, memory, needed,
			"it fits only if the kernel can make surplus %s pages where they are needed (nr_overcommit_hugepages), which it promises to nobody", page)
		return found
	}
	// numad may choose one node for all that it places.
	if auto := slices.DeleteFunc(slices.Clone(backends), func(p placed) bool { return !p.Auto || p.Strength != Hard }); len(auto) > 0 {
		if small := s.tooSmall(pool, sum(auto)); len(small) > 0 {
			warn(codeAuto, small, sum(auto),
				"numad chooses the nodes after this check and does not look at huge pages: %s could not hold %d %s pages", small.in(), sum(auto), page)
		}
	}
	if denied := memory.without(s.inherited); len(denied) > 0 {
		for _, b := range backends {
			if b.Auto && b.Policy != PolicyDefault {
				warn(codeAuto, denied, b.Pages, "numad chooses the nodes after this check and does not know that %s keeps QEMU to %s", shown(s.host.cgroup().NodesFile), s.inherited.in())
				break
			}
		}
	}
	for _, b := range backends {
		// What is bound to numad's nodes is also prepared from there.
		if !b.Auto {
			continue
		}
		idle := slices.DeleteFunc(slices.Clone(memory), func(node int) bool { return s.host.hasCPU(NodeSet{node}, s.cpus(b.Backend)) })
		if s.rules.has(ruleThreads) && !b.Global && (b.Policy != PolicyDefault || s.rules.has(ruleRestrictiveThreads)) && len(idle) > 0 {
			warn(codeAuto, idle, b.Pages, "numad chooses the nodes after this check, and QEMU cannot prepare memory from the CPUs of %s, as it may run on none of them", idle.in())
			break
		}
	}
	contest := newContest(pool, backends)
	free := pool.freeByNode()
	for i, b := range backends {
		if b.Auto && b.Strength == Hard {
			continue
		}
		// Whether what is touched side by side is so when all is mapped, or from
		// when each is, is QEMU's to choose.
		if s.reservesElsewhere(b) && minus(pool.on(s.bound).Free, contest.taken(i, false, s.bound)) < b.Pages {
			warn(codeOrder, s.bound, b.Pages,
				"%s can be reserved only if the guest's other memory leaves as many pages free on %s, to which QEMU's own memory is bound", b.ID, s.bound.in())
		}
		nodes := b.allowed
		have := pool.on(nodes).Free
		taken := contest.taken(i, s.rules.has(ruleParallel), nodes)
		if minus(have, taken) < b.Pages {
			warn(codeOrder, nodes, b.Pages,
				"%s fits on %s only if the guest's other memory takes its pages elsewhere, which depends on the order in which the kernel hands them out", b.ID, nodes.in())
		} else if minus(have, taken+claimable(pool, starting, nodes)) < b.Pages {
			warn(codeStarting, nodes, b.Pages, "%s fits on %s only if other guests that are starting (%s) take their pages elsewhere",
				b.ID, nodes.in(), named(s.host.rivals(pool.PageKiB, nodes)))
		}
		if b.wanted == nil || b.Policy == PolicyBind {
			continue
		}
		if there := wished(pool, free, b); there < b.Pages {
			warn(codeSpill, b.wanted, b.Pages,
				"%s asks for %s (%s), where only %d of its %d %s pages find room; the others will lie on other nodes", b.ID, b.wanted.in(), b.Policy, there, b.Pages, page)
		}
	}
	return found
}

// wished is how many of a soft backend's pages find room on the nodes that it
// asks for, alone: for interleave an even share on each.
func wished(pool SizePool, free map[int]uint64, b placed) uint64 {
	if b.Policy != PolicyInterleave {
		return min(b.Pages, pool.on(b.wanted).Free)
	}
	share := (b.Pages + uint64(len(b.wanted)) - 1) / uint64(len(b.wanted))
	var there uint64
	for _, node := range b.wanted {
		there += min(share, free[node])
	}
	return min(there, b.Pages)
}

// tooSmall returns the nodes that could not hold so many pages alone.
func (s simulation) tooSmall(pool SizePool, pages uint64) NodeSet {
	var small NodeSet
	for _, node := range s.host.memoryNodes() {
		if pool.node(node).Free < pages {
			small = append(small, node)
		}
	}
	return small
}
