package main

import (
	"errors"
	"slices"
	"time"

	"hugeguard/guard"
)

const (
	shrinkLimit = 40 * time.Second // for one disagreement
	raceTimes   = 6                // how often a race gets its chance
)

// shrink looks for a smaller scene that shows the same disagreement, in which
// only one variant is played.
func (s *session) shrink(o *outcome, kind string, by variant) (*outcome, error) {
	until := time.Now().Add(shrinkLimit)
	best := o
	try := func(sc scene, v variant) (bool, error) {
		if err := s.arrange(sc); err != nil {
			return false, err
		}
		small, err := s.judge(sc)
		if err != nil {
			return false, nil // no domain any more
		}
		times := 1
		if v.Order != apart {
			times = raceTimes
		}
		for range times {
			if err := s.add(small, v, 1); errors.Is(err, errRestless) {
				return false, nil
			} else if err != nil {
				return false, err
			}
			if got, _ := small.bad(); got == kind {
				best = small
				return true, nil
			}
		}
		return false, nil
	}
	if ok, err := try(o.scene, by); err != nil || !ok {
		return o, err
	}
	v := by
	for again := true; again; {
		again = false
		for _, simpler := range simplerVariants(v) {
			if time.Now().After(until) {
				return best, nil
			}
			ok, err := try(best.scene, simpler)
			if err != nil {
				return best, err
			}
			if ok {
				v, again = simpler, true
				break
			}
		}
		for _, smaller := range smaller(best.scene) {
			if time.Now().After(until) {
				return best, nil
			}
			ok, err := try(smaller, v)
			if err != nil {
				return best, err
			}
			if ok {
				again = true
				break
			}
		}
	}
	return best, nil
}

// simplerVariants changes what no release decides.
func simplerVariants(v variant) (all []variant) {
	change := func(do func(*variant)) {
		w := v
		if do(&w); !sameVariant(v, w) {
			all = append(all, w)
		}
	}
	change(func(w *variant) {
		if w.Order == overlapping {
			w.Order = together
		}
	})
	change(func(w *variant) { w.Threads = 1 })
	change(func(w *variant) { w.Many = false })
	return all
}

func sameVariant(v, w variant) bool {
	same := slices.Equal(v.Advice, w.Advice)
	v.Advice, w.Advice = nil, nil
	return same && v.String() == w.String()
}

// smaller returns the scenes that are one step simpler, the largest steps
// first.
func smaller(s scene) (all []scene) {
	change := func(do func(*scene)) {
		t := s.clone()
		do(&t)
		all = append(all, t)
	}
	for i := range s.Holders {
		change(func(t *scene) { t.Holders = slices.Delete(t.Holders, i, i+1) })
	}
	if s.Resized != nil {
		change(func(t *scene) { t.Pools, t.Resized = t.Resized, nil })
		change(func(t *scene) { t.Resized = nil })
	}
	for _, gone := range []func(*scene){
		func(t *scene) { t.Mount = mount{} },
		func(t *scene) { t.Mount.Size = nil },
		func(t *scene) { t.Mount.Minimum = nil },
		func(t *scene) { t.Group = group{} },
		func(t *scene) { t.Group.Nodes = nil },
		func(t *scene) { t.Group.CPUs = nil },
		func(t *scene) { t.Group.Max = nil },
		func(t *scene) { t.Group.Reserved = nil },
		func(t *scene) { t.Group.Inner = false },
	} {
		t := s.clone()
		if gone(&t); t.Mount != s.Mount || t.Group.String() != s.Group.String() || t.Group.Inner != s.Group.Inner {
			t.Domain.Partition = t.Group.partition()
			all = append(all, t)
		}
	}
	if s.Domain.Pin != nil {
		change(func(t *scene) { t.Domain.Pin = nil })
	}
	for i := range s.Domain.Devices {
		change(func(t *scene) { t.Domain.Devices = slices.Delete(t.Domain.Devices, i, i+1) })
	}
	for i := range s.Domain.Cells {
		if len(s.Domain.Cells) == 1 || slices.ContainsFunc(s.Domain.Devices, func(d device) bool { return d.Cell == i }) {
			continue
		}
		change(func(t *scene) {
			t.Domain.Cells = slices.Delete(t.Domain.Cells, i, i+1)
			for k := range t.Domain.Devices {
				if t.Domain.Devices[k].Cell > i {
					t.Domain.Devices[k].Cell--
				}
			}
		})
	}
	if s.Overcommit > 0 {
		change(func(t *scene) { t.Overcommit = 0 })
		change(func(t *scene) { t.Overcommit-- })
	}
	for i, c := range s.Domain.Cells {
		if c.Memnode != nil {
			change(func(t *scene) { t.Domain.Cells[i].Memnode = nil })
			if len(c.Memnode.Nodes) > 1 {
				for _, n := range c.Memnode.Nodes {
					change(func(t *scene) { t.Domain.Cells[i].Memnode = &tuning{Mode: c.Memnode.Mode, Nodes: guard.NodeSet{n}} })
				}
			}
		}
	}
	if m := s.Domain.Memory; m != nil {
		change(func(t *scene) { t.Domain.Memory = nil })
		if len(m.Nodes) > 1 {
			for _, n := range m.Nodes {
				change(func(t *scene) { t.Domain.Memory = &tuning{Mode: m.Mode, Nodes: guard.NodeSet{n}} })
			}
		}
	}
	for i, d := range s.Domain.Devices {
		if d.Nodes != nil {
			change(func(t *scene) { t.Domain.Devices[i].Nodes = nil })
		}
	}
	if s.Domain.Source != "" || s.Domain.Shared || s.Domain.Pages == pagesDefault {
		change(func(t *scene) {
			t.Domain.Source, t.Domain.Shared = "", false
			if t.Domain.Pages == pagesDefault {
				t.Domain.Pages = pagesSize
			}
		})
	}
	if slices.ContainsFunc(s.Domain.Cells, func(c cell) bool { return c.Normal }) {
		change(func(t *scene) {
			t.Domain.Pages = pagesSize
			for k := range t.Domain.Cells {
				t.Domain.Cells[k].Normal = false
			}
		})
	}
	for i, h := range s.Holders {
		plain := holder{Kind: anonymous, Shared: true, Pages: h.Pages, Touched: h.Touched, Mode: h.Mode, Nodes: h.Nodes}
		if h.Kind != plain.Kind || h.Shared != plain.Shared || h.NoReserve || h.Left {
			change(func(t *scene) { t.Holders[i] = plain })
		}
		if h.Mode != mpolDefault {
			change(func(t *scene) { t.Holders[i].Mode, t.Holders[i].Nodes = mpolDefault, nil })
		}
	}
	// Fewer pages: of one thing, or of two at once, so that the balance of
	// what is asked for and what there is stays.
	counts := func(t *scene) (all []*int) {
		for i := range t.Pools {
			all = append(all, &t.Pools[i])
		}
		for i := range t.Domain.Cells {
			all = append(all, &t.Domain.Cells[i].MiB)
		}
		if len(t.Domain.Cells) == 0 {
			all = append(all, &t.Domain.WholeMiB)
		}
		for i := range t.Domain.Devices {
			all = append(all, &t.Domain.Devices[i].MiB)
		}
		for i := range t.Holders {
			all = append(all, &t.Holders[i].Pages)
		}
		return all
	}
	unit := func(i int) int { // of a count: a page, in what it counts
		own := s.clone()
		if n := len(own.Pools); i >= n && i < len(counts(&own))-len(own.Holders) {
			return 2
		}
		return 1
	}
	probe := s.clone()
	all0 := counts(&probe)
	take := func(t *scene, i, pages int) bool {
		of := counts(t)[i]
		least := unit(i)
		if i < len(t.Pools) {
			least = 0
		}
		if *of-pages*unit(i) < least {
			return false
		}
		*of -= pages * unit(i)
		for k := range t.Holders {
			t.Holders[k].Touched = min(t.Holders[k].Touched, t.Holders[k].Pages)
		}
		return true
	}
	for _, pages := range []int{8, 3, 1} {
		for i := range all0 {
			t := s.clone()
			if take(&t, i, pages) {
				all = append(all, t)
			}
			for k := range all0 {
				t := s.clone()
				if k > i && take(&t, i, pages) && take(&t, k, pages) {
					all = append(all, t)
				}
			}
		}
	}
	for i, h := range s.Holders {
		if h.Touched > 0 && h.Touched < h.Pages {
			change(func(t *scene) { t.Holders[i].Touched = 0 })
			change(func(t *scene) { t.Holders[i].Touched = h.Pages })
		}
	}
	return all
}
