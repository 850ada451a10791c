package guard

import (
	"cmp"
	"slices"
)

// PoolReport is one node's pool of one size and who holds it, in pages. Total
// is Free, what Holders have, and Unaccounted.
type PoolReport struct {
	Node    int            `json:"node"`
	PageKiB uint64         `json:"page_kib"`
	Total   uint64         `json:"total"`
	Free    uint64         `json:"free"`
	Surplus uint64         `json:"surplus"`
	Claimed uint64         `json:"claimed"` // of Free: for domains that are starting and can take no others
	Holders []HolderReport `json:"holders"`
	// Unaccounted is what nobody is seen to hold on this node; nil where
	// nobody looked.
	Unaccounted *uint64 `json:"unaccounted"`
}

// HolderReport is what one holder has of a pool.
type HolderReport struct {
	Kind  HolderKind `json:"kind"`
	Name  string     `json:"name"`
	PID   int        `json:"pid"`            // 0 for files
	Unit  string     `json:"unit,omitempty"` // systemd unit or container
	Pages uint64     `json:"pages"`
}

// SizeReport is what is known of the pools of one size, and not on which node.
type SizeReport struct {
	PageKiB uint64 `json:"page_kib"`
	// Reserved pages are free and promised to those in ReservedBy, who have
	// not touched them yet; some of these may not be seen.
	Reserved   uint64         `json:"reserved"`
	ReservedBy []HolderReport `json:"reserved_by"`
	// Unplaced are pages that lie on some node, where they are unaccounted.
	Unplaced []HolderReport `json:"unplaced"`
}

// Report lists the host's pools by size and node, with who holds them.
func (h Host) Report() []PoolReport {
	reports := []PoolReport{}
	for _, pool := range h.Pools {
		held := h.held(pool)
		for _, n := range pool.Nodes {
			report := PoolReport{Node: n.Node, PageKiB: pool.PageKiB, Total: n.Total, Free: n.Free, Surplus: n.Surplus, Claimed: h.claimedOn(pool, n.Node), Holders: []HolderReport{}}
			if h.Holders != nil {
				unaccounted := minus(n.Total, n.Free)
				for i, holder := range h.Holders.List {
					if pages := held[i][n.Node]; pages > 0 {
						report.Holders = append(report.Holders, holder.report(pages))
						unaccounted = minus(unaccounted, pages)
					}
				}
				largestFirst(report.Holders)
				report.Unaccounted = &unaccounted
			}
			reports = append(reports, report)
		}
	}
	return reports
}

// SizeReport lists the sizes of which more is known than where the pages lie.
func (h Host) SizeReport() []SizeReport {
	if h.Holders == nil {
		return nil
	}
	var reports []SizeReport
	for _, pool := range h.Pools {
		report := SizeReport{PageKiB: pool.PageKiB, Reserved: pool.Reserved, ReservedBy: []HolderReport{}, Unplaced: []HolderReport{}}
		held := h.held(pool)
		for i, holder := range h.Holders.List {
			if holder.PageKiB != pool.PageKiB {
				continue
			}
			if holder.Reserved > 0 && pool.Reserved > 0 {
				report.ReservedBy = append(report.ReservedBy, holder.report(holder.Reserved))
			}
			placed := sumPages(held[i]) - sumPages(holder.Pages)
			if left := minus(holder.Unplaced, placed); left > 0 {
				report.Unplaced = append(report.Unplaced, holder.report(left))
			}
		}
		if report.Reserved > 0 || len(report.Unplaced) > 0 {
			largestFirst(report.ReservedBy)
			largestFirst(report.Unplaced)
			reports = append(reports, report)
		}
	}
	return reports
}

func (h Holder) report(pages uint64) HolderReport {
	return HolderReport{Kind: h.Kind, Name: h.Name, PID: h.PID, Unit: h.Unit, Pages: pages}
}

func largestFirst(reports []HolderReport) {
	slices.SortStableFunc(reports, func(a, b HolderReport) int {
		return cmp.Or(cmp.Compare(b.Pages, a.Pages), cmp.Compare(a.PID, b.PID))
	})
}

// held is what each of the host's holders has of a pool, by node.
func (h Host) held(pool SizePool) []map[int]uint64 {
	if h.Holders == nil {
		return nil
	}
	unseen := h.unseen(pool)
	held := make([]map[int]uint64, len(h.Holders.List))
	for i, holder := range h.Holders.List {
		if holder.PageKiB == pool.PageKiB {
			held[i] = unseen.certain(holder)
		}
	}
	return held
}

// unseen is how many pages of each node are taken and seen with nobody. The
// unplaced pages of all holders are among them.
type unseen map[int]uint64

func (h Host) unseen(pool SizePool) unseen {
	left := unseen{}
	for _, n := range pool.Nodes {
		left[n.Node] = minus(n.Total, n.Free)
	}
	var unplaced uint64
	for _, holder := range h.Holders.List {
		if holder.PageKiB != pool.PageKiB {
			continue
		}
		unplaced += holder.Unplaced
		for node, pages := range holder.Pages {
			left[node] = minus(left[node], pages)
		}
	}
	if unplaced > sumPages(left) {
		// The counters and the holders are not of one moment: of what could
		// not be seen nothing is certain then.
		for node := range left {
			left[node] = 0
		}
	}
	return left
}

// certain is what some holders of one size have on each node at the least:
// the pages seen there, and those of their unplaced ones for which the unseen
// pages of the other nodes leave no room.
func (u unseen) certain(holders ...Holder) map[int]uint64 {
	pages := map[int]uint64{}
	var unplaced uint64
	for _, holder := range holders {
		unplaced += holder.Unplaced
		for node, n := range holder.Pages {
			pages[node] += n
		}
	}
	all := sumPages(u)
	for node, n := range u {
		if must := min(n, minus(unplaced, all-n)); must > 0 {
			pages[node] += must
		}
	}
	return pages
}

func sumPages[M ~map[int]uint64](pages M) uint64 {
	var sum uint64
	for _, n := range pages {
		sum += n
	}
	return sum
}
