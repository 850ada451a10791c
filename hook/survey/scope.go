package survey

import "hugeguard/guard"

// A Scope is what of a host is asked for. The zero Scope is [All].
type Scope struct {
	partition string
	demand    *guard.Demand
}

// All is the pools of all page sizes, for domains of the default resource partition.
var All = Scope{}

// In is [All] for the domains of a resource partition.
func In(partition string) Scope { return Scope{partition: partition} }

// For is what a demand can mean: the pools of its page sizes and no others, and the releases that are to serve it.
func For(demand guard.Demand) Scope { return Scope{demand.Partition, &demand} }

// sizes returns the page sizes in KiB of the pools.
func (s Scope) sizes(host guard.Host) []uint64 {
	if s.demand == nil {
		return host.Sizes
	}
	return s.demand.PageSizes(host)
}

// domain returns the domain that is to start; none where that is any.
func (s Scope) domain() guard.Domain {
	if s.demand == nil {
		return guard.Domain{}
	}
	return s.demand.Domain
}
