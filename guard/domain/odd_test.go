package domain_test

import (
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
	"hugeguard/testdata/grammar"
)

// TestOddDomains: a field that no one expects costs no launch. Those domains that libvirt takes can be judged, and
// there is room for all of them; of the others anything may be said but that there is not.
func TestOddDomains(t *testing.T) {
	host := guardtest.Idle(4, 2048, 2048, 1<<20)
	host.Nodes = nil
	for i := range host.Pools {
		host.Pools[i].Nodes = nil
	}
	for _, node := range grammar.Nodes() {
		host.Nodes = append(host.Nodes, guard.Node{ID: node, HasMemory: true, HasCPU: true})
		for i := range host.Pools {
			host.Pools[i].Nodes = append(host.Pools[i].Nodes, guard.NodePool{Node: node, Total: 1 << 40, Free: 1 << 40})
		}
	}
	for _, odd := range grammar.Odds() {
		demand, err := domain.Parse([]byte(odd.XML))
		if err != nil {
			if odd.Refused == "" {
				t.Errorf("%s: %v", odd.Name, err)
			}
			continue
		}
		v := fix.Judge(demand, host)
		if v.Decision == guard.Refuse || odd.Refused == "" && (len(v.Demand) == 0 || len(v.Findings) > 0 && v.Decision == guard.Allow) {
			t.Errorf("%s: %s %s", odd.Name, v.Decision, words.Summary(v))
		}
	}
}
