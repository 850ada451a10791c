package guard

import (
	"testing"

	"pgregory.net/rapid"

	"hugeguard/testdata/cases"
)

// repeated counts as RoomFor does, but starts one launch after the other.
func repeated(d Demand, host Host) (fit, sure int, next Verdict) {
	host, _ = Serious(host)
	for allowed := true; ; fit++ {
		v := Judge(d, host)
		if !v.fits() {
			if !v.doomed {
				next = v
			}
			return fit, sure, next
		}
		allowed = allowed && v.Decision == Allow
		if allowed {
			sure++
		}
		host, next = host.after(1, v), v
	}
}

// TestRoomIsExact: halving finds the number that starting one after the other does, whatever the guest and the host.
func TestRoomIsExact(t *testing.T) {
	all := cases.AtLeast(t, 1000)
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		d, host := drawLaunch(t)
		room, countable := RoomFor(d, host, Judge)
		if !countable {
			return
		}
		fit, sure, next := repeated(d, host)
		if room.Fit != fit || room.Sure != sure {
			t.Fatalf("room for %d, %d of them for sure, and one after the other %d, %d", room.Fit, room.Sure, fit, sure)
		}
		if room.Next == nil || room.Next.Decision != next.Decision || room.Next.Cause != next.Cause {
			t.Fatalf("in the way is %+v, and one after the other %s %s", room.Next, next.Decision, next.Cause)
		}
		if (room.Doubt != nil) != (sure < fit) || room.Doubt != nil && room.Doubt.Decision != Warn {
			t.Fatalf("%d of %d are sure, and the doubt is %+v", sure, fit, room.Doubt)
		}
		seen[string(room.Next.Cause)]++
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
	for _, want := range []string{string(CauseStartingGuests), string(CauseMountLimit), string(CauseCgroupLimit), "several", "doubt"} {
		if seen[want] == 0 {
			t.Errorf("never drawn: %s", want)
		}
	}
}

// guestOf returns a guest of so many pages of 2 MiB, bound to a node unless that is below 0.
func guestOf(pages uint64, node int) Demand {
	b := Backend{ID: "pc.ram", Bytes: pages << 21, ExactBytes: pages << 21, PageKiB: 2048, Policy: PolicyDefault, Strength: Soft}
	d := Demand{Domain: Domain{Name: "g"}, Backends: []Backend{b}}
	if node >= 0 {
		return d.BoundTo(node)
	}
	return d
}

func TestRoom(t *testing.T) {
	host := pages(10, 7)
	for name, c := range map[string]struct {
		demand Demand
		host   Host
		nodes  []int
		all    int
	}{
		"bound":          {guestOf(3, 0), host, []int{3, 2}, 5},
		"anywhere":       {guestOf(3, -1), host, []int{3, 2}, 5},
		"across nodes":   {guestOf(4, -1), pages(6, 6), []int{1, 1}, 3},
		"too large":      {guestOf(11, 0), host, []int{0, 0}, 0},
		"promised pages": {guestOf(3, 0), host.pooled(func(p *SizePool) { p.Reserved = 12 }), []int{1, 1}, 1},
		"a large pool":   {guestOf(1, 0), pages(1 << 19), []int{1 << 19}, 1 << 19},
		"no end":         {guestOf(1, 0), pages(1 << 40), []int{MostRoom}, MostRoom},
	} {
		if !c.demand.Movable() {
			t.Fatalf("%s: it cannot be moved", name)
		}
		nodes, all := RoomByNode(c.demand, c.host, Judge)
		if len(nodes) != len(c.nodes) || all.Fit != c.all {
			t.Errorf("%s: %+v, in all %d, want %v, %d", name, nodes, all.Fit, c.nodes, c.all)
			continue
		}
		for i, n := range nodes {
			if n.Fit != c.nodes[i] || (n.Next == nil) != (n.Fit == MostRoom) {
				t.Errorf("%s: node %d has room for %d, want %d", name, n.Node, n.Fit, c.nodes[i])
			}
		}
	}
}

// TestRoomUncountable: what takes no pages at its start, or would be refused by libvirt, fits no number of times.
func TestRoomUncountable(t *testing.T) {
	if room, countable := RoomFor(Demand{}, pages(10), Judge); countable {
		t.Errorf("room for %d guests without huge pages", room.Fit)
	}
	plugged := guestOf(3, 0)
	plugged.Backends[0].Device = VirtioMem
	if room, countable := RoomFor(plugged, pages(10), Judge); countable {
		t.Errorf("room for %d guests that take their pages later", room.Fit)
	}
	unmounted := pages(10)
	unmounted.Mounts = nil
	if room, _ := RoomFor(guestOf(3, 0), unmounted, Judge); room.Fit != 0 || room.Next == nil {
		t.Errorf("without a mount there is room for %d", room.Fit)
	}
}
