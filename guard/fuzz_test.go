package guard_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// Whatever a domain asks for and a host has, a verdict is whole: a refusal has a cause, its line is one, all of it is
// fit for a terminal and JSON; and where each node has pages without end, none is refused for want of them.
func FuzzJudge(f *testing.F) {
	domains, err := filepath.Glob("../testdata/domains/*.xml")
	if err != nil || len(domains) == 0 {
		f.Fatal(len(domains), err)
	}
	for i, name := range domains {
		xml, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(xml, uint64(0), uint64(0), uint64(0), uint8(i))
		f.Add(xml, uint64(1), uint64(1<<20), uint64(7), uint8(i))
		f.Add(xml, uint64(1<<20), uint64(1<<20), uint64(0), uint8(i))
	}
	f.Fuzz(func(t *testing.T, xml []byte, first, second, reserved uint64, how uint8) {
		demand, err := domain.Parse(xml)
		if err != nil {
			return
		}
		const most = 1 << 30
		free := []uint64{first % most, second % most}
		host := guardtest.Idle(4, 2048, 2048, 1<<20)
		if how&1 != 0 {
			host = guardtest.Idle(64, 512<<10, 64, 2048, 512<<10, 1<<20)
		}
		plenty := host
		plenty.Pools = nil
		for i, pool := range host.Pools {
			all := pool
			all.Nodes = slices.Clone(pool.Nodes)
			for k := range pool.Nodes {
				all.Nodes[k].Total, all.Nodes[k].Free = 1<<50, 1<<50
				pool.Nodes[k].Free = free[k%2]
				pool.Nodes[k].Total = free[k%2] + uint64(how)
			}
			plenty.Pools = append(plenty.Pools, all)
			pool.Reserved = min(reserved, free[0])
			if how&2 != 0 {
				pool.Overcommit = uint64(how)
			}
			host.Pools[i] = pool
		}
		if how&4 != 0 {
			held := map[int]uint64{0: uint64(how)}
			host.Holders = &guard.Holders{List: []guard.Holder{{Kind: guard.HolderKind([]string{"ovs", "guest", "process", "file"}[how>>3&3]), Name: "x\x1b", PID: 7, PageKiB: 2048, Pages: held}}}
		}
		if how&64 != 0 {
			host.Starting = []guard.Starting{{Domain: guard.Domain{Name: "other"}, Claims: []guard.Claim{{PageKiB: 2048, Pages: uint64(how), Nodes: guard.NodeSet{0}}}}}
		}
		v := fix.Judge(demand, host)
		text := words.Text(v)
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }) || strings.Contains(words.Summary(v), "\n") {
			t.Errorf("%q", text)
		}
		switch v.Decision {
		case guard.Refuse:
			if v.Cause == "" || words.Summary(v) == "" || len(v.Findings) == 0 {
				t.Errorf("a refusal without a reason: %+v", v)
			}
		case guard.Allow, guard.Warn:
			if v.Cause != "" || v.Decision == guard.Warn && len(v.Findings) == 0 {
				t.Errorf("%s for %q: %+v", v.Decision, v.Cause, v)
			}
		default:
			t.Errorf("the decision %q", v.Decision)
		}
		for name, value := range words.Fields(v) {
			if name == "" || strings.ContainsAny(value, "\x00\x1b") {
				t.Errorf("the field %q is %q", name, value)
			}
		}
		if _, err := json.Marshal(words.NewReport(v)); err != nil {
			t.Error(err)
		}
		for _, line := range append(words.Reserve(host.Reservations()), words.ReserveTripleO(host.Reservations())...) {
			if strings.ContainsAny(line, "\n\x1b") {
				t.Errorf("%q", line)
			}
		}
		switch v := fix.Judge(demand, plenty); v.Cause {
		case guard.CauseSizeMismatch, guard.CauseBindingImpossible, guard.CausePageSizeUnsupported, "":
		case guard.CausePoolTooSmall:
			// More than the 2 EiB that there are.
		default:
			t.Errorf("with all the pages in the world it is refused for %s: %s", v.Cause, words.Summary(v))
		}
	})
}
