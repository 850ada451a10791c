package guard

import (
	"reflect"
	"slices"
)

// fate is how a launch ends under some rules.
type fate struct {
	must  []failure // nil: it can succeed
	rules int       // under how many of all rules
}

// play simulates the launch under all rules that may hold. It returns why it must fail, or else what may go wrong.
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
		risks = append([]Finding{f.perhaps(host, codeSome, IfReleases{host.Releases, decisive(all, fails)})}, risks...)
	}
	return nil, risks
}

// playEach does the same where QEMU may be put below any of several control groups.
func (l launch) playEach(host Host) (must []failure, risks []Finding) {
	var likeliest []failure
	fails := 0
	for _, c := range host.Cgroups {
		under := host
		under.Cgroups = []Cgroup{c}
		must, found := l.play(under)
		if must != nil {
			fails++
			found = []Finding{must[0].perhaps(host, codeCgroup, IfBelowGroup{c.Path})}
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

// commonest returns the failures that most rules lead to, the newest of those that as many do.
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
