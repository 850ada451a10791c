package guard

import (
	"reflect"
	"slices"
)

// Judge says what will become of a launch: it plays it against the host's
// pools under every combination of libvirt's and QEMU's rules that its
// [Host.Releases] may have. It refuses only what must fail under each of them,
// and warns of what can fail. To know more of the releases turns no allowed
// launch into another.
//
// What libvirt itself refuses with a clear message (a node that does not
// exist, a page size without a mount) is left to libvirt and allowed here.
//
// Host must have the pools of the page sizes that [Demand.PageSizes] returns
// for it. Without [Host.Holders] the cause of a shortage stays open.
func Judge(demand Demand, host Host) Verdict {
	v := Verdict{Domain: demand.Domain, Exempt: demand.Exempt, Canary: demand.Canary, Decision: Allow, Holders: host.Holders}
	if demand.TooMany.Count > 0 {
		v.Decision, v.Findings = Warn, []Finding{newFinding(codeTooMany, SeverityWarn, SizePool{}, nil, 0, demand.TooMany)}
		return v
	}
	backends, left := resolve(demand, host)
	backends, hidden := onHugePages(backends, host)
	v.Demand, v.Releases = backends, host.Releases
	v.Pools, v.Sizes, v.OVS = host.Report(), host.SizeReport(), host.OVSReport()
	if left != nil {
		v.Findings = []Finding{*left}
		return v
	}
	l := launch{backends, demand.Cpuset}
	v.confined = demand.Cpuset.within(host)
	v.Starting = host.StartingReport()
	host, doomed := host.serious()
	v.doomed = len(doomed) > 0
	must, risks := l.play(host)
	if must != nil {
		if doubt := l.doubt(demand, host, must[0]); doubt != nil {
			must, risks = nil, []Finding{*doubt}
		}
	}
	if must == nil {
		v.Findings = slices.Concat(hidden, risks, plugging(host, backends), l.vswitch(demand, host), l.beside(host, doomed))
		if len(v.Findings) > 0 {
			v.Decision = Warn
		}
		return v
	}
	l.refuse(&v, host, must)
	v.Findings = append(v.Findings, hidden...)
	v.Findings = append(v.Findings, host.drifts(demand.Domain.UUID)...)
	return v
}

// refuse makes a verdict of why a launch must fail: what is missing, who is to blame, and what helps.
func (l launch) refuse(v *Verdict, host Host, must []failure) {
	must = l.inOrder(host, must)
	l.setReleases(host, must)
	v.Decision = Refuse
	v.Blame = l.blame(host, must)
	v.Cause = v.Blame.Cause
	v.Lack = host.lack(must[0], v.Blame, v.Domain.UUID)
	v.waits = l.fitsAfter(host)
	for _, f := range must {
		v.Findings = append(v.Findings, f.finding(host, SeverityRefuse))
	}
	if !v.Canary { // else nobody should do anything about it
		v.Nova = host.NovaReport(v.Domain.UUID)
		v.Fixes = fixes(host, must, v.Blame)
	}
}

// doubt returns why a launch that must fail might not: libvirt may take other pages than it is thought to, or the
// sizes that it has saved. It is nil if neither helps.
func (l launch) doubt(demand Demand, host Host, f failure) *Finding {
	if l.fitsOtherDefault(demand, host) {
		finding := f.perhaps(host, codeDefault, IfDefaultSize, "")
		return &finding
	}
	if asSaved, differs := l.asSaved(); differs && !asSaved.mustFail(host) {
		finding := f.perhaps(host, codeRestore, IfColdStart, "")
		return &finding
	}
	return nil
}

// fitsOtherDefault reports whether a launch of pages without a size could succeed
// with another size than the one that libvirt is thought to take: what was
// mounted when the daemon started and hugetlbfs_mount in qemu.conf decide.
func (l launch) fitsOtherDefault(demand Demand, host Host) bool {
	if host.Configured || !slices.ContainsFunc(demand.Backends, func(b Backend) bool { return b.PageKiB == 0 }) {
		return false
	}
	for _, mount := range host.Mounts {
		// As if that mount were the one, and no size the kernel's default.
		other := host
		other.Mounts, other.DefaultPageKiB = append([]Mount{mount}, host.Mounts...), 0
		backends, left := resolve(demand, other)
		backends, _ = onHugePages(backends, other)
		if left == nil && !(launch{backends, l.cpuset}).mustFail(other) {
			return true
		}
	}
	return false
}

// launch is what a domain asks for, with the host's part settled.
type launch struct {
	backends []Backend
	cpuset   Cpuset
}

// asSaved is the launch with the sizes that the XML has, as a restore and an
// incoming migration take them; differs says whether that is fewer pages.
func (l launch) asSaved() (saved launch, differs bool) {
	saved = launch{slices.Clone(l.backends), l.cpuset}
	for i := range saved.backends {
		b := &saved.backends[i]
		b.Bytes = b.ExactBytes
		if pages := b.pages(); pages < b.Pages {
			b.Pages, differs = pages, true
		}
	}
	return saved, differs
}

// pages is how many pages a backend's bytes take, the last one in part.
func (b Backend) pages() uint64 {
	page := b.PageKiB * 1024
	pages := b.Bytes / page
	if b.Bytes%page != 0 {
		pages++
	}
	return pages
}

// fate is how a launch ends under some rules.
type fate struct {
	must  []failure // nil: it can succeed
	rules int       // under how many of all rules
}

// play simulates the launch under all rules that may hold. It returns why it
// must fail, or else what may go wrong.
func (l launch) play(host Host) (must []failure, risks []Finding) {
	if len(host.Cgroups) > 1 {
		return l.playEach(host)
	}
	matters := l.rulesThatMatter(host)
	played := map[rules]*fate{}
	var fates []*fate // the oldest rules' first
	all := host.Releases.rules()
	fails := make([]bool, len(all))
	failing := 0
	for i, r := range all {
		r := r & matters
		f := played[r]
		if f == nil {
			f = &fate{}
			var found []Finding
			f.must, found = simulate(r, l.backends, l.cpuset, host)
			for _, finding := range found {
				risks = addFinding(risks, finding)
			}
			same := func(known *fate) bool { return reflect.DeepEqual(known.must, f.must) }
			if known := slices.IndexFunc(fates, same); known >= 0 {
				f = fates[known]
			} else {
				fates = append(fates, f)
			}
			played[r] = f
		}
		f.rules++
		if f.must != nil {
			fails[i] = true
			failing++
		}
	}
	if failing == len(all) {
		return commonest(fates), nil
	}
	if failing > 0 {
		f := commonest(fates)[0]
		f.code = codeSome
		risks = append([]Finding{f.perhaps(host, codeSome, IfReleases, host.Releases.condition(decisive(all, fails)))}, risks...)
	}
	return nil, risks
}

// setReleases notes with each failure what had to be known of the releases
// for it to be certain.
func (l launch) setReleases(host Host, must []failure) {
	for _, known := range host.Releases.parts() {
		less := host
		less.Releases = known
		if l.mustFail(less) {
			for i := range must {
				must[i].releases = known
			}
			return
		}
	}
}

// playEach does the same where QEMU may be put below any of several control
// groups.
func (l launch) playEach(host Host) (must []failure, risks []Finding) {
	var likeliest []failure
	fails := 0
	for _, c := range host.Cgroups {
		under := host
		under.Cgroups = []Cgroup{c}
		must, found := l.play(under)
		if must != nil {
			fails++
			found = []Finding{must[0].perhaps(host, codeCgroup, IfBelowGroup, c.Path)}
		}
		if likeliest == nil {
			likeliest = must
		}
		for _, finding := range found {
			risks = addFinding(risks, finding)
		}
	}
	if fails == len(host.Cgroups) {
		return likeliest, nil
	}
	return nil, risks
}

// addFinding adds what is not known yet.
func addFinding(known []Finding, f Finding) []Finding {
	if slices.ContainsFunc(known, func(k Finding) bool { return reflect.DeepEqual(k, f) }) {
		return known
	}
	return append(known, f)
}

// commonest returns the failures that most rules lead to, the newest of those
// that as many do.
func commonest(fates []*fate) []failure {
	var best fate
	for _, f := range fates {
		if f.must != nil && f.rules >= best.rules {
			best = *f
		}
	}
	return best.must
}

// mustFail reports whether the launch fails on that host whatever happens.
func (l launch) mustFail(host Host) bool {
	must, _ := l.play(host)
	return must != nil
}

// PageSizes returns the page sizes in KiB that a demand can mean on a host,
// ascending, each once: those whose pools Judge needs.
func (d Demand) PageSizes(host Host) []uint64 {
	var sizes []uint64
	for _, b := range d.Backends {
		if b.PageKiB == 0 {
			for _, mount := range host.Mounts {
				sizes = append(sizes, mount.PageKiB)
			}
		} else if b.PageKiB != host.BasePageKiB {
			sizes = append(sizes, b.PageKiB)
		}
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// defaultMountKiB is the page size that libvirt takes where the domain names
// none, in KiB: the kernel's default if it is mounted, else that of the first
// mount, 0 without any (virFileGetDefaultHugepage). Of several in qemu.conf it
// is the second (virQEMUDriverConfigLoadProcessEntry).
func (h Host) defaultMountKiB() uint64 {
	if h.Configured && len(h.Mounts) > 1 {
		return h.Mounts[1].PageKiB
	}
	if !h.Configured && h.mounted(h.DefaultPageKiB) {
		return h.DefaultPageKiB
	}
	if len(h.Mounts) > 0 {
		return h.Mounts[0].PageKiB
	}
	return 0
}

func (h Host) mounted(kib uint64) bool {
	return slices.ContainsFunc(h.Mounts, func(m Mount) bool { return m.PageKiB == kib })
}

// resolve settles page sizes and page counts, and drops backends whose pages
// are no huge ones here. left is what libvirt will refuse by itself.
func resolve(demand Demand, host Host) (backends []Backend, left *Finding) {
	leave := func(kib uint64, why Reason) {
		if left == nil {
			f := newFinding(codeLeftToOthers, SeverityInfo, SizePool{PageKiB: kib}, nil, 0, why)
			left = &f
		}
	}
	for _, b := range demand.Backends {
		if b.PageKiB == 0 {
			if b.PageKiB = host.defaultMountKiB(); b.PageKiB == 0 {
				leave(0, NoMount{})
				continue
			}
		}
		if b.PageKiB == host.BasePageKiB {
			continue
		}
		if !b.Memfd && !host.mounted(b.PageKiB) {
			leave(b.PageKiB, NoMount{})
		}
		for _, node := range b.HostNodes.Or(b.Cpuset) {
			if !slices.ContainsFunc(host.Nodes, func(n Node) bool { return n.ID == node }) {
				leave(b.PageKiB, NoNode{node})
			}
		}
		if b.Device != VirtioMem {
			b.Pages = b.pages()
		}
		backends = append(backends, b)
	}
	return backends, left
}

// plugging warns of virtio-mem devices that the guest cannot fill: QEMU starts,
// and refuses the guest's plug requests later.
func plugging(host Host, backends []Backend) []Finding {
	var found []Finding
	type poolOn struct {
		kib   uint64
		nodes string
	}
	known := map[poolOn]uint64{} // what is left
	for _, b := range backends {
		pool, ok := host.pool(b.PageKiB)
		if b.Device != VirtioMem || !ok {
			continue
		}
		nodes := host.inherited(ruleCpuset)
		if b.Policy == PolicyBind && !b.Auto {
			nodes = b.HostNodes.And(nodes)
		}
		key := poolOn{b.PageKiB, nodes.key()}
		left, ok := known[key]
		if !ok {
			left = minus(pool.on(nodes).Free, pool.Reserved)
			for _, other := range backends {
				if other.PageKiB == b.PageKiB && (other.HostNodes == nil || slices.ContainsFunc(other.HostNodes, nodes.Has)) {
					left = minus(left, other.Pages)
				}
			}
			known[key] = left
		}
		if wanted := (b.Requested + b.PageKiB - 1) / b.PageKiB; wanted > left {
			found = append(found, newFinding(codeGrow, SeverityWarn, pool, nodes, wanted, CannotPlug{left}).of(b))
		}
	}
	return found
}
