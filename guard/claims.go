package guard

import (
	"math"
	"slices"
)

// claimed is claims with the nodes that they can be met from.
type claimed struct {
	pages, mapped, clearing uint64 // as in Claim
	allowed                 NodeSet
}

// claims returns what starting guests have still to take of a pool under some rules, the earliest first, those together
// that can be met from the same nodes: for the kernel it is the same whose pages they are.
func (h Host) claims(pool SizePool, r rules) []claimed {
	var list []claimed
	memory := h.MemoryNodes()
	for _, s := range h.Starting {
		for _, c := range s.Claims {
			if c.PageKiB != pool.PageKiB || c.Pages == 0 {
				continue
			}
			allowed := memory
			if c.Hard {
				allowed = c.Nodes.And(memory)
			} else if nodes := c.Cpuset.of(r).And(memory); r.has(ruleCpuset) && len(nodes) > 0 {
				allowed = nodes
			}
			i := slices.IndexFunc(list, func(known claimed) bool { return slices.Equal(known.allowed, allowed) })
			if i < 0 {
				i = len(list)
				list = append(list, claimed{allowed: allowed})
			}
			list[i].pages += c.Pages
			list[i].mapped += c.Mapped
			list[i].clearing += c.Clearing
		}
	}
	return list
}

// sure returns claims without those pages that may be taken already.
func sure(claims []claimed) []claimed {
	list := slices.Clone(claims)
	for i := range list {
		c := &list[i]
		c.pages, c.mapped = minus(c.pages, c.clearing), minus(c.mapped, c.clearing)
	}
	return list
}

func claimRequests(claims []claimed) []request {
	list := make([]request, len(claims))
	for i, c := range claims {
		list[i] = request{pages: c.pages, allowed: c.allowed}
	}
	return list
}

// unmapped is how many pages of claims the kernel has not promised yet.
func unmapped(claims []claimed) uint64 {
	var pages uint64
	for _, c := range claims {
		pages += minus(c.pages, c.mapped)
	}
	return pages
}

// confinements are the rules that may hold, as far as these matter there.
func confinements(h Host) []rules {
	matters := h.confining()
	if matters == 0 {
		return []rules{0}
	}
	var all []rules
	for _, r := range h.Releases.rules() {
		r &= matters
		if !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// claimable is how many free pages of some nodes claims can be met from, at the most.
func claimable(pool SizePool, claims []claimed, nodes NodeSet) uint64 {
	var pages uint64
	for _, c := range claims {
		pages += min(c.pages, pool.On(c.allowed.And(nodes)).Free)
	}
	return pages
}

// claimedOn is how many pages of one node are claimed for certain: by those who can take them nowhere else, whatever
// rules hold.
func (h Host) claimedOn(pool SizePool, node int) uint64 {
	least := uint64(math.MaxUint64)
	for _, r := range confinements(h) {
		var pages uint64
		for _, c := range sure(h.claims(pool, r)) {
			if slices.Equal(c.allowed, NodeSet{node}) {
				pages += c.pages
			}
		}
		least = min(least, pages)
	}
	return least
}

// Serious returns the host with those starting guests alone whose pages can be had, the earliest first, and those who
// are too many: these will fail, and give back what they took meanwhile.
func Serious(h Host) (host Host, doomed []Starting) {
	if len(h.Starting) == 0 || canServe(h) {
		return h, nil
	}
	all := h.Starting
	h.Starting = nil
	for i, s := range all {
		with := h
		with.Starting = append(slices.Clone(h.Starting), all[i])
		if canServe(with) {
			h = with
		} else {
			doomed = append(doomed, s)
		}
	}
	return h, doomed
}

// canServe reports whether the pools have the pages of all starting guests, whatever rules hold.
func canServe(h Host) bool {
	for _, r := range confinements(h) {
		for _, pool := range h.Pools {
			claims := sure(h.claims(pool, r))
			all := pool.On(h.MemoryNodes())
			if assign(claimRequests(claims), pool.freeByNode(), pool.headroom()) != nil ||
				unmapped(claims) > minus(all.Free+pool.headroom(), pool.Reserved) && !h.setAside(pool) {
				return false
			}
		}
	}
	return true
}

// startingOn returns the starting guests that claim pages of some nodes, or may.
func (h Host) startingOn(kib uint64, nodes NodeSet) []Starting {
	pool, _ := h.Pool(kib)
	confinements := confinements(h)
	return slices.DeleteFunc(slices.Clone(h.Starting), func(s Starting) bool {
		only := h
		only.Starting = []Starting{s}
		return !slices.ContainsFunc(confinements, func(r rules) bool {
			return slices.ContainsFunc(only.claims(pool, r), func(c claimed) bool { return len(c.allowed.And(nodes)) > 0 })
		})
	})
}

// clearing returns the starting guests that may have taken pages of a size which nobody shows yet.
func clearing(h Host, kib uint64) []Starting {
	return slices.DeleteFunc(slices.Clone(h.Starting), func(s Starting) bool {
		return !slices.ContainsFunc(s.Claims, func(c Claim) bool { return c.PageKiB == kib && c.Clearing > 0 })
	})
}

// names returns the names of starting guests.
func names(starting []Starting) []string {
	var all []string
	for _, s := range starting {
		all = append(all, s.Domain.Name)
	}
	return all
}
