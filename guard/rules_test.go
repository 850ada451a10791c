package guard

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"hugeguard/testdata/cases"
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

// TestTable: every rule has one row, and every row is whole.
func TestTable(t *testing.T) {
	var all rules
	words := map[string]string{}
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
	for _, c := range conditions() {
		says := Message(Finding{Reason: Perhaps{IfReleases{All: []Combinations{c.combinations()}}, NoMount{}}})
		if known := words[says]; known != "" || strings.Contains(says, "with :") {
			t.Errorf("%+v is %q in words, as %s", c, says, known)
		}
		words[says] = fmt.Sprintf("%+v", c)
	}
	for _, set := range (Releases{}).rules() {
		if set.consistent() != set {
			t.Errorf("%b may hold, which lack what they need", set)
		}
	}
}

// ruled is a launch whose fate a rule decides.
type ruled struct {
	demand        Demand
	host          Host
	without, with Decision
}

// TestEveryRuleDecides plays each rule: there is a launch that it decides, in the releases of its row and in no others,
// and where the release is not known, the warning says in words which decide.
func TestEveryRuleDecides(t *testing.T) {
	noCPU := pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	decided := map[rules]ruled{
		ruleCpuset:             {plain(t, 202, "restrictive:0", twoMiB), pages(100, 100).serving(9_000_000, 0), Allow, Refuse},
		ruleRestrictive:        {plain(t, 202, "restrictive:0", twoMiB), pages(100, 100), Allow, Refuse},
		ruleUnion:              {guest(t, "strict:0", cell{10, "strict:1"}), pages(100, 100).usingCpuset(true), Refuse, Allow},
		ruleExactFiles:         {plain(t, 21, "", twoMiB), pages(100, 100), Allow, Refuse},
		ruleParallel:           {guest(t, "", cell{100, "strict:0"}, cell{90, "strict:0-1"}), pages(100, 100), Allow, Warn},
		ruleRestrictiveThreads: {plain(t, 20, "restrictive:1", twoMiB), noCPU, Allow, Refuse},
		ruleThreads:            {plain(t, 20, "strict:1", twoMiB), noCPU, Allow, Refuse},
		ruleNodemask:           {withDIMM(t, "restrictive:0-1", 25, "1"), pages(100, 20), Allow, Refuse},
		ruleRAM:                {plain(t, 21, "strict:0", twoMiB), pages(100, 100), Allow, Refuse},
		ruleUnreserved:         {withVirtioMem(t, 80, 40), pages(60), Refuse, Allow},
		rulePolicy:             {withDIMM(t, "strict:0", 25, "1"), pages(20, 100).usingCpuset(false).serving(9_000_000, 7_002_000), Allow, Refuse},
		ruleConfinedFirst:      {plain(t, 60, "strict:0", twoMiB), pages(20, 100).usingCpuset(true).serving(0, 4_002_000), Allow, Refuse},
		ruleMemfd:              {parse(t, strings.Replace(guestXML("", cell{pages: 30}), "</memoryBacking>", "<source type='memfd'/></memoryBacking>", 1)), pages(20), Allow, Refuse},
	}
	// With the rule that another ends, until that one comes.
	ended := map[rules]ruled{
		ruleRestrictiveThreads: {parse(t, pinnedXML("<cputune><emulatorpin cpuset='0-1'/></cputune>")), twoCPUs(100, 100).usingCpuset(true), Refuse, Allow},
	}
	for i := range table {
		row := &table[i]
		t.Run(ruleNames[row.rule], func(t *testing.T) {
			launch, ok := decided[row.rule]
			if !ok {
				t.Fatal("no launch that it decides")
			}
			launch.play(t, row, launch.fails(row.rule))
			if row.ends == 0 {
				return
			}
			launch, ok = ended[row.rule]
			if !ok {
				t.Fatal("no launch that fails until it comes")
			}
			launch.play(t, row, condition{yes: row.ends, no: row.rule})
		})
	}
}

// fails returns the condition on which the launch is refused, by the rule that decides it; none where it never is.
func (l ruled) fails(rule rules) condition {
	switch Refuse {
	case l.with:
		return condition{yes: rule}
	case l.without:
		return condition{no: rule}
	}
	return condition{}
}

// play judges the launch without the rule, with it, and where it is open whether there is one, as far as the row says
// which releases these are. Where it fails on a condition, the warning is to say which.
func (l ruled) play(t *testing.T, row *row, fails condition) {
	t.Helper()
	judge := func(what string, k Releases, want Decision) Verdict {
		t.Helper()
		host := l.host
		host.Releases = k
		v := Judge(l.demand, host)
		if v.Decision != want {
			t.Errorf("%s, %s: %s: %s\nwant %s", what, k, v.Decision, Summary(v), want)
		}
		return v
	}
	says := func(k Releases, v Verdict) {
		t.Helper()
		if fails == (condition{}) {
			return
		}
		_, want, _ := strings.Cut(Message(Finding{Reason: Perhaps{IfReleases{k, []Combinations{fails.combinations()}}, NoMount{}}}), "; it fails ")
		if !strings.HasSuffix(Message(v.Findings[0]), "; it fails "+want) {
			t.Errorf("%q does not say %q", Summary(v), want)
		}
	}
	open := Warn
	if l.without != Refuse && l.with != Refuse {
		open = max(l.without, l.with) // allow and warn: their texts are in that order
	}
	// All else that it takes is there.
	with := l.host.Releases
	if row.began() != 0 {
		with.Libvirt.Version, with.QEMU.Version, with.Kernel.Version = row.since()
	}
	using, notUsing := true, false
	if row.rule == ruleCpuset || row.needs.has(ruleCpuset) {
		with.Cpuset = &using
	}
	judge("with the rule", with, l.with)
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
		judge("before it", k, l.without)
		release.Patched = true
		judge("before it, patched", k, open)
		if project.perhaps != project.surely {
			*release = Release{Version: project.perhaps}
			judge("perhaps with it", k, open)
		}
		*release = Release{}
		if project.assumed {
			judge("nothing known", k, l.with)
			continue
		}
		says(k, judge("nothing known", k, open))
	}
	if row.rule == ruleCpuset {
		k := with
		k.Cpuset = &notUsing
		judge("without the rule", k, l.without)
		k.Cpuset = nil
		says(k, judge("nothing known", k, open))
	}
}

// began returns the last of the releases that a row names, 0 for none.
func (r *row) began() Version { return max(r.libvirt.surely, r.qemu.surely, r.kernel.surely) }

// drawStarting draws guests that are starting, confined or not.
func drawStarting(t *rapid.T, host Host) Host {
	nodes := func(label string) NodeSet {
		set := NodeSet{}
		for n := range host.Nodes {
			if rapid.Bool().Draw(t, label) {
				set = append(set, n)
			}
		}
		return set
	}
	for i := range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(t, "starting guests") {
		host = host.started(fmt.Sprint("s", i), "", rapid.Uint64Range(1, 9).Draw(t, "still to take"), 0)
		claim := &host.Starting[i].Claims[0]
		if claim.Hard = rapid.Bool().Draw(t, "hard"); claim.Hard {
			claim.Nodes = nodes("of")
		}
		if confined := nodes("confined to"); len(confined) > 0 {
			claim.Cpuset = Cpuset{Nodes: confined, Union: confined.Or(nodes("and")), Restrictive: rapid.Bool().Draw(t, "restrictive")}
		}
	}
	return host
}

// TestRulesThatMatter: a rule that is said not to matter changes nothing, whatever other rules hold; and every rule is
// seen to change something.
func TestRulesThatMatter(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	changed := map[rules]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		host = drawStarting(t, host)
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
					changed[rule]++
				} else if !same {
					t.Fatalf("%s is said not to matter; %s", ruleNames[rule], how)
				}
			}
			if same, how := same(r, r&matter); !same {
				t.Fatal(how)
			}
		}
	})
	for i := range table {
		if rule := table[i].rule; all && changed[rule] == 0 {
			t.Errorf("%s changed no launch that was drawn: drawLaunch is to draw what it is about", ruleNames[rule])
		}
	}
	t.Logf("changed %v", changed)
}
