package room_test

import (
	"testing"

	"pgregory.net/rapid"

	"hugeguard/guard"
	. "hugeguard/guard/guardtest"
	"hugeguard/guard/room"
	"hugeguard/testdata/cases"
)

// repeated counts as [room.For] does, but starts one launch after the other.
func repeated(d guard.Demand, host guard.Host) (fit, sure int, next guard.Verdict) {
	host, _ = guard.Serious(host)
	for allowed := true; ; fit++ {
		v := guard.Judge(d, host)
		if !room.Fits(v) {
			if !v.Doomed() {
				next = v
			}
			return fit, sure, next
		}
		allowed = allowed && v.Decision == guard.Allow
		if allowed {
			sure++
		}
		host, next = room.After(host, 1, v), v
	}
}

// TestRoomIsExact: halving finds the number that starting one after the other does, whatever the guest and the host.
func TestRoomIsExact(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := DrawLaunch(t)
		counted, countable := room.For(d, host.Host)
		if !countable {
			return
		}
		fit, sure, next := repeated(d, host.Host)
		if counted.Fit != fit || counted.Sure != sure {
			t.Fatalf("room for %d, %d of them for sure, and one after the other %d, %d", counted.Fit, counted.Sure, fit, sure)
		}
		if counted.Next == nil || counted.Next.Decision != next.Decision || counted.Next.Cause != next.Cause {
			t.Fatalf("in the way is %+v, and one after the other %s %s", counted.Next, next.Decision, next.Cause)
		}
		if (counted.Doubt != nil) != (sure < fit) || counted.Doubt != nil && counted.Doubt.Decision != guard.Warn {
			t.Fatalf("%d of %d are sure, and the doubt is %+v", sure, fit, counted.Doubt)
		}
		seen[string(counted.Next.Cause)]++
		if fit > 1 {
			seen["several"]++
		}
		if sure < fit {
			seen["doubt"]++
		}
	})
	t.Log(seen)
	if !all {
		return
	}
	for _, want := range []string{string(guard.CauseStartingGuests), string(guard.CauseMountLimit), string(guard.CauseCgroupLimit), "several", "doubt"} {
		if seen[want] == 0 {
			t.Errorf("never drawn: %s", want)
		}
	}
}

// guestOf returns a guest of so many pages of 2 MiB, bound to a node unless that is below 0.
func guestOf(pages uint64, node int) guard.Demand {
	b := guard.Backend{ID: "pc.ram", Bytes: pages << 21, ExactBytes: pages << 21, PageKiB: 2048, Policy: guard.PolicyDefault, Strength: guard.Soft}
	d := guard.Demand{Domain: guard.Domain{Name: "g"}, Backends: []guard.Backend{b}}
	if node >= 0 {
		return room.BoundTo(d, node)
	}
	return d
}

func TestRoom(t *testing.T) {
	host := Pages(10, 7)
	for name, c := range map[string]struct {
		demand guard.Demand
		host   Setup
		nodes  []int
		all    int
	}{
		"bound":          {guestOf(3, 0), host, []int{3, 2}, 5},
		"anywhere":       {guestOf(3, -1), host, []int{3, 2}, 5},
		"across nodes":   {guestOf(4, -1), Pages(6, 6), []int{1, 1}, 3},
		"too large":      {guestOf(11, 0), host, []int{0, 0}, 0},
		"promised pages": {guestOf(3, 0), host.Change(func(p *guard.SizePool) { p.Reserved = 12 }), []int{1, 1}, 1},
		"a large pool":   {guestOf(1, 0), Pages(1 << 19), []int{1 << 19}, 1 << 19},
		"no end":         {guestOf(1, 0), Pages(1 << 40), []int{room.Most}, room.Most},
	} {
		if !room.Movable(c.demand) {
			t.Fatalf("%s: it cannot be moved", name)
		}
		nodes, all := room.ByNode(c.demand, c.host.Host)
		if len(nodes) != len(c.nodes) || all.Fit != c.all {
			t.Errorf("%s: %+v, in all %d, want %v, %d", name, nodes, all.Fit, c.nodes, c.all)
			continue
		}
		for i, n := range nodes {
			if n.Fit != c.nodes[i] || (n.Next == nil) != (n.Fit == room.Most) {
				t.Errorf("%s: node %d has room for %d, want %d", name, n.Node, n.Fit, c.nodes[i])
			}
		}
	}
}

// TestRoomUncountable: what takes no pages at its start, or would be refused by libvirt, fits no number of times.
func TestRoomUncountable(t *testing.T) {
	if _, countable := room.For(guard.Demand{}, Pages(10).Host); countable {
		t.Error("guests without huge pages are counted")
	}
	plugged := guestOf(3, 0)
	plugged.Backends[0].Device = guard.VirtioMem
	if _, countable := room.For(plugged, Pages(10).Host); countable {
		t.Error("guests that take their pages later are counted")
	}
	unmounted := Pages(10)
	unmounted.Mounts = nil
	if counted, _ := room.For(guestOf(3, 0), unmounted.Host); counted.Fit != 0 || counted.Next == nil {
		t.Errorf("without a mount there is room for %d", counted.Fit)
	}
}
