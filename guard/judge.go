package guard

import (
	"fmt"
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
	v := Verdict{Domain: demand.Domain, Exempt: demand.Exempt, canary: demand.Canary, Decision: Allow, Demand: []Backend{}, Findings: []Finding{}, Remedy: []Remedy{}, holders: host.Holders}
	if demand.TooMany != "" {
		f := newFinding(codeTooMany, SeverityWarn, SizePool{}, nil, 0, "its huge pages are not judged: "+demand.TooMany)
		v.Decision, v.Findings, v.Summary = Warn, append(v.Findings, f), f.Message
		return v
	}
	backends, left := resolve(demand, host)
	backends, hidden := onHugePages(backends, host)
	v.Demand = append(v.Demand, backends...)
	v.Pools, v.Sizes, v.OVS = host.Report(), host.SizeReport(), host.OVSReport()
	v.Releases, v.releases = host.Releases.Report(), host.Releases
	if left != nil {
		v.Findings = append(v.Findings, *left)
		v.Summary = left.Message
		return v
	}
	l := launch{backends, demand.Cpuset}
	v.confined = demand.Cpuset.within(host)
	v.Starting = host.StartingReport()
	host, doomed := host.serious()
	v.doomed = len(doomed) > 0
	must, risks := l.play(host)
	if must != nil && l.fitsOtherDefault(demand, host) {
		f := must[0].finding(host, SeverityWarn, fmt.Sprintf("it fails if libvirt takes pages of %s, the domain naming none: %s", Size(must[0].pageKiB), must[0].text(host)))
		f.Code = codeDefault
		must, risks = nil, []Finding{f}
	}
	if must != nil {
		if asSaved, differs := l.asSaved(); differs && !asSaved.mustFail(host) {
			f := must[0].finding(host, SeverityWarn, "it fails unless it is restored or comes in by migration, where sizes are not rounded up: "+must[0].text(host))
			f.Code = codeRestore
			must, risks = nil, []Finding{f}
		}
	}
	if must == nil {
		v.Findings = append(v.Findings, hidden...)
		v.Findings = append(v.Findings, risks...)
		v.Findings = append(v.Findings, plugging(host, backends)...)
		v.Findings = append(v.Findings, l.vswitch(demand, host)...)
		v.Findings = append(v.Findings, l.beside(host, doomed)...)
		if len(v.Findings) > 0 {
			v.Decision = Warn
		}
		v.Summary = v.outlook()
		return v
	}
	must = l.inOrder(host, must)
	l.saysReleases(host, must)
	v.Decision = Refuse
	v.blame = l.blame(host, must)
	v.Cause = v.blame.cause
	v.waits = l.fitsAfter(host)
	for _, f := range must {
		v.Findings = append(v.Findings, f.finding(host, SeverityRefuse, f.text(host)))
	}
	v.Findings = append(v.Findings, hidden...)
	v.Findings = append(v.Findings, host.drifts(demand.Domain.UUID)...)
	if demand.Canary {
		// Nobody should do anything about it.
		v.Summary = "hugeguard verify asked for more than there can be: " + v.refusal(host, must[0])
		return v
	}
	v.Nova = host.NovaReport(demand.Domain.UUID)
	v.Remedy = append(v.Remedy, remedies(host, must, v.blame)...)
	v.Summary = v.refusal(host, must[0])
	return v
}

// fitsOtherDefault says whether a launch of pages without a size could succeed
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
		r &= matters
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
		message := fmt.Sprintf("it fails %s: %s", host.Releases.condition(decisive(all, fails)), f.text(host))
		risks = append([]Finding{f.finding(host, SeverityWarn, message)}, risks...)
	}
	return nil, risks
}

// saysReleases notes with each failure what had to be known of the releases
// for it to be certain.
func (l launch) saysReleases(host Host, must []failure) {
	for _, known := range host.Releases.parts() {
		less := host
		less.Releases = known
		if l.mustFail(less) {
			for i := range must {
				must[i].releases = known.String()
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
			f := must[0]
			f.code = codeCgroup
			found = []Finding{f.finding(host, SeverityWarn, fmt.Sprintf("it fails if libvirt puts QEMU below %s: %s", shown(c.Path), must[0].text(host)))}
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

// mustFail says whether the launch fails on that host whatever happens.
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
	leave := func(kib uint64, format string, args ...any) {
		if left == nil {
			f := newFinding(codeLeftToOthers, SeverityInfo, SizePool{PageKiB: kib}, nil, 0, fmt.Sprintf(format, args...))
			left = &f
		}
	}
	for _, b := range demand.Backends {
		if b.PageKiB == 0 {
			if b.PageKiB = host.defaultMountKiB(); b.PageKiB == 0 {
				leave(0, "libvirt will refuse it: hugetlbfs is not mounted, so there is no default huge page size")
				continue
			}
		}
		if b.PageKiB == host.BasePageKiB {
			continue
		}
		if !b.Memfd && !host.mounted(b.PageKiB) {
			leave(b.PageKiB, "libvirt will refuse it: there is no hugetlbfs mount for %s pages", Size(b.PageKiB))
		}
		for _, node := range b.HostNodes.Or(b.Cpuset) {
			if !slices.ContainsFunc(host.Nodes, func(n Node) bool { return n.ID == node }) {
				leave(b.PageKiB, "libvirt will refuse it: this host has no NUMA node %d", node)
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
	known := map[string]uint64{} // what is left, by page size and nodes
	for _, b := range backends {
		pool, ok := host.pool(b.PageKiB)
		if b.Device != VirtioMem || !ok {
			continue
		}
		nodes := host.inherited(ruleCpuset)
		if b.Policy == PolicyBind && !b.Auto {
			nodes = b.HostNodes.And(nodes)
		}
		key := Size(b.PageKiB) + nodes.key()
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
			found = append(found, newFinding(codeGrow, SeverityWarn, pool, nodes, wanted,
				fmt.Sprintf("%s is to plug %d pages of %s after the start, and %d will be left", b.ID, wanted, Size(b.PageKiB), left)))
		}
	}
	return found
}
