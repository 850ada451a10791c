package guard_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	. "hugeguard/guard"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/cases"
)

// TestConditionsInWords: a warning tells all conditions of releases apart.
func TestConditionsInWords(t *testing.T) {
	said := map[string]Combinations{}
	for _, c := range ConditionsOfRules() {
		says := words.Finding(Finding{Reason: Perhaps{When: IfReleases{All: []Combinations{c}}, Of: NoMount{}}})
		if other, known := said[says]; known || strings.Contains(says, "with :") {
			t.Errorf("%+v is %q in words, as %+v", c, says, other)
		}
		said[says] = c
	}
}

// TestEveryRuleDecides plays each rule: there is a launch that it decides, in the releases of its row and in no others,
// and where the release is not known, the warning says in words which decide.
func TestEveryRuleDecides(t *testing.T) {
	noCPU := Pages(100, 100)
	noCPU.Nodes[1].HasCPU = false
	decided := map[string]Ruled{
		"cpuset":              {Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).Serving(9_000_000, 0).Host, Allow, Refuse},
		"restrictive":         {Plain(t, 202, "restrictive:0", TwoMiB), Pages(100, 100).Host, Allow, Refuse},
		"union":               {Guest(t, "strict:0", Cell(10, "strict:1")), Pages(100, 100).UsingCpuset(true).Host, Refuse, Allow},
		"exact files":         {Plain(t, 21, "", TwoMiB), Pages(100, 100).Host, Allow, Refuse},
		"parallel":            {Guest(t, "", Cell(100, "strict:0"), Cell(90, "strict:0-1")), Pages(100, 100).Host, Allow, Warn},
		"restrictive threads": {Plain(t, 20, "restrictive:1", TwoMiB), noCPU.Host, Allow, Refuse},
		"threads":             {Plain(t, 20, "strict:1", TwoMiB), noCPU.Host, Allow, Refuse},
		"nodemask":            {withDIMM(t, "restrictive:0-1", 25, "1"), Pages(100, 20).Host, Allow, Refuse},
		"RAM":                 {Plain(t, 21, "strict:0", TwoMiB), Pages(100, 100).Host, Allow, Refuse},
		"unreserved":          {withVirtioMem(t, 80, 40), Pages(60).Host, Refuse, Allow},
		"policy":              {withDIMM(t, "strict:0", 25, "1"), Pages(20, 100).UsingCpuset(false).Serving(9_000_000, 7_002_000).Host, Allow, Refuse},
		"confined first":      {Plain(t, 60, "strict:0", TwoMiB), Pages(20, 100).UsingCpuset(true).Serving(0, 4_002_000).Host, Allow, Refuse},
		"memfd":               {Parse(t, strings.Replace(GuestXML("", Cell(30, "")), "</memoryBacking>", "<source type='memfd'/></memoryBacking>", 1)), Pages(20).Host, Allow, Refuse},
	}
	// With the rule that another ends, until that one comes.
	ended := map[string]Ruled{
		"restrictive threads": {Parse(t, PinnedXML("<cputune><emulatorpin cpuset='0-1'/></cputune>")), TwoCPUs(100, 100).UsingCpuset(true).Host, Refuse, Allow},
	}
	all, ending := RuleNames()
	play := func(t *testing.T, name string, launches map[string]Ruled, isEnded bool) {
		launch, ok := launches[name]
		if !ok {
			t.Fatal("no launch that it decides")
		}
		launch.Play(t, name, isEnded, words.Finding)
	}
	for _, name := range all {
		t.Run(name, func(t *testing.T) { play(t, name, decided, false) })
	}
	for _, name := range ending {
		t.Run(name+", ends another", func(t *testing.T) { play(t, name, ended, true) })
	}
}

// drawStarting draws guests that are starting, confined or not.
func drawStarting(t *rapid.T, host Setup) Setup {
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
		host = host.Started(fmt.Sprint("s", i), "", rapid.Uint64Range(1, 9).Draw(t, "still to take"), 0)
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
	changed := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		TryRules(t, d, drawStarting(t, host).Host, changed)
	})
	names, _ := RuleNames()
	for _, name := range names {
		if all && changed[name] == 0 {
			t.Errorf("%s changed no launch that was drawn: DrawLaunch is to draw what it is about", name)
		}
	}
	t.Logf("changed %v", changed)
}
