package guard

import (
	"cmp"
	"slices"
)

// Report lists the host's pools by size and node, with who holds them.
func (h Host) Report() []PoolReport {
	reports := []PoolReport{}
	for _, pool := range h.Pools {
		held := h.held(pool)
		var left map[int]uint64 // unexplained pages
		if h.Holders != nil {
			left = unaccounted(pool, held)
		}
		for _, n := range pool.Nodes {
			report := PoolReport{Node: n.Node, PageKiB: pool.PageKiB, Total: n.Total, Free: n.Free, Surplus: n.Surplus, Claimed: h.claimedOn(pool, n.Node), Holders: []HolderReport{}}
			if h.Holders != nil {
				for i, holder := range h.Holders.List {
					if pages := held[i][n.Node]; pages > 0 {
						report.Holders = append(report.Holders, holder.report(pages))
					}
				}
				largestFirst(report.Holders)
				unaccounted := left[n.Node]
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

// StartingReport lists what the starting guests have still to take.
func (h Host) StartingReport() []StartingReport {
	var reports []StartingReport
	for _, s := range h.Starting {
		for _, c := range s.Claims {
			if c.Pages > 0 {
				reports = append(reports, StartingReport{s.Domain.Name, s.Domain.UUID, c.PageKiB, c.Pages, c.Nodes})
			}
		}
	}
	return reports
}

func (h Holder) report(pages uint64) HolderReport {
	return HolderReport{Kind: h.Kind, Name: h.Name, PID: h.PID, Unit: h.Unit, Guest: h.Guest, Pages: pages}
}

func largestFirst(reports []HolderReport) {
	slices.SortStableFunc(reports, func(a, b HolderReport) int {
		return cmp.Or(cmp.Compare(b.Pages, a.Pages), cmp.Compare(a.PID, b.PID))
	})
}
