package hook

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/vswitch"
)

// TestEvidenceInTime: each answer to a launch that must fail says what is not known by then; with all the time there is
// that is less each time, and with none it is all to the end.
func TestEvidenceInTime(t *testing.T) {
	holders, told := guard.EvidenceHolders, []guard.Evidence{guard.EvidenceOVS, guard.EvidenceNova}
	all := append([]guard.Evidence{holders}, told...)
	for _, test := range []struct {
		deadline time.Duration
		want     [][]guard.Evidence // nil for either of told
	}{
		{time.Hour, [][]guard.Evidence{all, told, nil, {}}},
		{0, [][]guard.Evidence{all, all}},
	} {
		f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
		f.host.Write(vswitch.Captured, hooktest.OVSAnswer(`,["dpdk-socket-mem","1024,1024"]`))
		f.host.Write(hooktest.NovaConf, hooktest.ReservesAll)
		f.config, f.complete = config.Default(), true
		var got [][]guard.Evidence
		f.judge(time.Now().Add(test.deadline), func(o outcome) {
			if o.err != nil || o.verdict.Decision != guard.Refuse {
				t.Errorf("%+v", o)
			}
			got = append(got, o.verdict.NotKnown)
			a := f.answer(o)
			if said := a.Entry.Fields["HUGEGUARD_NOT_KNOWN"]; strings.Contains(a.Entry.Message, "\nnot known in time: ") != (said != "") {
				t.Errorf("the journal has %q beside\n%s", said, a.Entry.Message)
			}
		})
		if len(got) < len(test.want) {
			t.Fatalf("%d answers, want %d", len(got), len(test.want))
		}
		for i, want := range test.want {
			if want == nil && len(got[i]) == 1 || reflect.DeepEqual(got[i], want) {
				continue
			}
			t.Errorf("answer %d: not known: %q, want %q", i, got[i], want)
		}
		if last := got[len(got)-1]; test.deadline == 0 && len(last) != len(all) {
			t.Errorf("at last not known: %q, want %q", last, all)
		}
	}
}

// TestChildSharesTheClock: however long a child takes to begin, it reckons from when its parent did.
func TestChildSharesTheClock(t *testing.T) {
	began := time.Now()
	shown := onClock(began)
	exact := time.Since(began)
	time.Sleep(50 * time.Millisecond) // the child begins
	asked := time.Now()
	off := atClock(shown).Sub(began).Abs()
	if exact += time.Since(asked); off > exact {
		t.Errorf("it is off by %v, want at most %v", off, exact)
	}
}
