package guard

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ruleNames are what the tests call the rules.
var ruleNames = map[rules]string{
	ruleCpuset:             "cpuset",
	ruleRestrictive:        "restrictive",
	ruleUnion:              "union",
	ruleExactFiles:         "exact files",
	ruleParallel:           "parallel",
	ruleRestrictiveThreads: "restrictive threads",
	ruleThreads:            "threads",
	ruleNodemask:           "nodemask",
	ruleRAM:                "RAM",
	ruleUnreserved:         "unreserved",
	rulePolicy:             "policy",
	ruleConfinedFirst:      "confined first",
	ruleMemfd:              "memfd",
}

// RuleNames returns the names of all rules, and of those that end another.
func RuleNames() (all, ending []string) {
	for i := range table {
		all = append(all, ruleNames[table[i].rule])
		if table[i].ends != 0 {
			ending = append(ending, ruleNames[table[i].rule])
		}
	}
	return all, ending
}

// TestTable: every rule has one row, and every row is whole.
func TestTable(t *testing.T) {
	var all rules
	for i := range table {
		row := &table[i]
		name := ruleNames[row.rule]
		if row.rule != 1<<i || row.rule.row() != row || name == "" {
			t.Fatalf("row %d is of rule %b, %q: rows and names are to be in the order of the constants", i, row.rule, name)
		}
		all |= row.rule
		for _, s := range []span{row.libvirt, row.qemu, row.kernel} {
			if s.perhaps > s.surely || s.perhaps == 0 && s.surely != 0 {
				t.Errorf("%s: perhaps since %s, surely since %s", name, s.perhaps, s.surely)
			}
		}
		if row.began() == 0 && row.rule != ruleCpuset {
			t.Errorf("%s: no release began it", name)
		}
		if row.confines == nil && row.matters == nil {
			t.Errorf("%s: it never matters", name)
		}
		if !row.needs.has(row.ends) || row.needs.has(row.rule) || row.needs.consistent() != row.needs {
			t.Errorf("%s: it needs %b without what these need, or ends %b without needing that", name, row.needs, row.ends)
		}
	}
	if all != allRules {
		t.Errorf("there are rules %b, and rows of %b", allRules, all)
	}
	for _, set := range (Releases{}).rules() {
		if set.consistent() != set {
			t.Errorf("%b may hold, which lack what they need", set)
		}
	}
}

// Ruled is a launch whose fate a rule decides.
type Ruled struct {
	Demand        Demand
	Host          Host
	Without, With Decision
}

// Play judges the launch without a rule, with it, and where it is open whether there is one, as far as the rule's row
// says which releases these are. Where it fails on a condition, the warning is to say which. If ended is set, the rule
// has it succeed again after the one that it ends.
func (l Ruled) Play(t *testing.T, name string, ended bool, finding func(Finding) string) {
	t.Helper()
	var row *row
	for i := range table {
		if ruleNames[table[i].rule] == name {
			row = &table[i]
		}
	}
	fails := l.fails(row.rule)
	if ended {
		fails = condition{yes: row.ends, no: row.rule}
	}
	judge := func(what string, k Releases, want Decision) Verdict {
		t.Helper()
		host := l.Host
		host.Releases = k
		v := Judge(l.Demand, host)
		if v.Decision != want {
			t.Errorf("%s, %s: %s: %+v\nwant %s", what, k, v.Decision, v.Findings, want)
		}
		return v
	}
	says := func(k Releases, v Verdict) {
		t.Helper()
		if fails == (condition{}) {
			return
		}
		_, want, _ := strings.Cut(finding(Finding{Reason: Perhaps{IfReleases{k, []Combinations{fails.combinations()}}, NoMount{}}}), "; it fails ")
		if !strings.HasSuffix(finding(v.Findings[0]), "; it fails "+want) {
			t.Errorf("%q does not say %q", finding(v.Findings[0]), want)
		}
	}
	open := Warn
	if l.Without != Refuse && l.With != Refuse {
		open = max(l.Without, l.With) // allow and warn: their texts are in that order
	}
	// All else that it takes is there.
	with := l.Host.Releases
	if row.began() != 0 {
		with.Libvirt.Version, with.QEMU.Version, with.Kernel.Version = row.since()
	}
	using, notUsing := true, false
	if row.rule == ruleCpuset || row.needs.has(ruleCpuset) {
		with.Cpuset = &using
	}
	judge("with the rule", with, l.With)
	for _, project := range []struct {
		span
		assumed bool
		of      func(*Releases) *Release
	}{
		{row.libvirt, assumed.has(row.rule), func(k *Releases) *Release { return &k.Libvirt }},
		{row.qemu, assumed.has(row.rule), func(k *Releases) *Release { return &k.QEMU }},
		{row.kernel, true, func(k *Releases) *Release { return &k.Kernel }},
	} {
		if project.span == (span{}) {
			continue
		}
		k := with
		release := project.of(&k)
		release.Version = project.perhaps - 1
		judge("before it", k, l.Without)
		release.Patched = true
		judge("before it, patched", k, open)
		if project.perhaps != project.surely {
			*release = Release{Version: project.perhaps}
			judge("perhaps with it", k, open)
		}
		*release = Release{}
		if project.assumed {
			judge("nothing known", k, l.With)
			continue
		}
		says(k, judge("nothing known", k, open))
	}
	if row.rule == ruleCpuset {
		k := with
		k.Cpuset = &notUsing
		judge("without the rule", k, l.Without)
		k.Cpuset = nil
		says(k, judge("nothing known", k, open))
	}
}

// fails returns the condition on which the launch is refused, by the rule that decides it; none where it never is.
func (l Ruled) fails(rule rules) condition {
	switch Refuse {
	case l.With:
		return condition{yes: rule}
	case l.Without:
		return condition{no: rule}
	}
	return condition{}
}

// began returns the last of the releases that a row names, 0 for none.
func (r *row) began() Version { return max(r.libvirt.surely, r.qemu.surely, r.kernel.surely) }

// TryRules compares the simulation of a launch under random rules with that under some others: one that is said not to
// matter changes nothing. It counts which changed something.
func TryRules(t *rapid.T, d Demand, host Host, changed map[string]int) {
	backends, _ := resolve(d, host)
	host.Cgroups = host.Cgroups[:min(len(host.Cgroups), 1)] // as play does
	matter := launch{backends, d.Cpuset}.rulesThatMatter(host)
	same := func(r, other rules) (bool, string) {
		must, risks := simulate(r, backends, d.Cpuset, host)
		mustNot, otherRisks := simulate(other, backends, d.Cpuset, host)
		return reflect.DeepEqual(must, mustNot) && reflect.DeepEqual(risks, otherRisks),
			fmt.Sprintf("rules %b of which %b matter: %v %v\nrules %b: %v %v", r, matter, must, risks, other, mustNot, otherRisks)
	}
	for range 4 {
		r := rapid.SampledFrom(rules(allRules).subsets()).Draw(t, "rules")
		for i := range table {
			rule := table[i].rule
			if same, how := same(r, r^rule); !same && matter.has(rule) {
				changed[ruleNames[rule]]++
			} else if !same {
				t.Fatalf("%s is said not to matter; %s", ruleNames[rule], how)
			}
		}
		if same, how := same(r, r&matter); !same {
			t.Fatal(how)
		}
	}
}

// CompareClaims compares, under any rules, the nodes that a launch claims with those where its pages may lie. It counts
// the claims that are as exact as that, and those that are wider for what a claim does not know.
func CompareClaims(t *rapid.T, d Demand, host Host) (exact, wider int) {
	host.Cgroups = host.Cgroups[:min(len(host.Cgroups), 1)] // as play does
	v := Judge(d, host)
	for _, b := range v.Demand {
		if b.Pages == 0 {
			continue
		}
		pool, _ := host.Pool(b.PageKiB)
		only := v
		only.Demand = []Backend{b}
		with := host
		with.Starting = []Starting{only.AsStarting()}
		for _, r := range rules(allRules &^ assumed).subsets() {
			r |= assumed
			s := simulation{rules: r, host: host, inherited: host.inherited(r)}
			s.confined, s.bound = s.confinement(d.Cpuset)
			formed, _ := b.under(r)
			p, f := s.place(formed)
			if f != nil {
				continue
			}
			claimed := with.claims(pool, r)[0].allowed
			// A claim does not know of control groups above the domain's, of a policy that libvirt gives the
			// process in place of a cpuset, of a cpuset that leaves out some of the nodes it is bound to, or of rules
			// that are not known to hold.
			cpuset := d.Cpuset.of(r)
			confined := b.formed() != 0 || host.cgroup().Nodes != nil || cpuset != nil && (!r.has(ruleCpuset) && b.Policy == PolicyDefault ||
				r.has(ruleCpuset) && b.Policy == PolicyBind && len(b.HostNodes.Without(cpuset)) > 0)
			switch same := slices.Equal(claimed, p.allowed); {
			case len(p.allowed.Without(claimed)) > 0 || !same && !confined:
				t.Fatalf("rules %b: %+v may lie on nodes %v and claims %v", r, b, p.allowed, claimed)
			case same:
				exact++
			default:
				wider++
			}
		}
	}
	return exact, wider
}
