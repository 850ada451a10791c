package words_test

import (
	"strings"
	"testing"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/guardtest"
	"hugeguard/guard/words"
)

// TestSpill: memory that may lie elsewhere, and will, is told to those who ask. Nobody is warned: the guest starts.
func TestSpill(t *testing.T) {
	demand, err := domain.Parse([]byte(`<domain type='kvm'><name>g</name><memory unit='GiB'>1</memory><memoryBacking><hugepages/></memoryBacking>
		<numatune><memory mode='preferred' nodeset='0'/></numatune><os><type arch='x86_64'>hvm</type></os></domain>`))
	if err != nil {
		t.Fatal(err)
	}
	host := guardtest.Idle(4, 2048, 2048)
	host.Pools[0].Nodes[0].Free = 500
	v := fix.Judge(demand, host)
	const spills = "\n  will spill from node 0: only 500 of the 512 pages (1 GiB) of pc.ram find room there (preferred), the others will lie on other nodes"
	if text := words.Text(v); v.Decision != guard.Allow || !strings.Contains(text, spills) || !strings.HasPrefix(words.Summary(v), "it fits: ") {
		t.Errorf("%s: %s\n%s\nwant to be allowed, and %q", v.Decision, words.Summary(v), text, spills)
	}
}
