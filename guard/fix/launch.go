package fix

import (
	"hugeguard/guard"
)

// launch is a launch on a host, with why it must fail there.
type launch struct {
	demand guard.Demand
	host   guard.Host
	must   []guard.Finding
}

// on returns the launch on another host.
func (l launch) on(host guard.Host) launch {
	return launch{l.demand, host, guard.MustFail(l.demand, host)}
}

// fits reports whether the launch would fit on another host.
func (l launch) fits(host guard.Host) bool { return l.on(host).must == nil }

// refusal is a launch that is refused, on a host without the starting guests that will fail in any case.
type refusal struct {
	launch
	verdict guard.Verdict
}

// sawAll reports whether all holders of pages are known.
func sawAll(host guard.Host) bool {
	return host.Holders != nil && !host.Holders.Cut && !host.Holders.Alone && len(host.Holders.Unreadable) == 0
}

// lacking is how many pages a shortage lacks where so many are free on its nodes.
func lacking(f guard.Finding, short guard.Short, free uint64) uint64 {
	if short.Promised {
		free = minus(free, short.Reserved)
	}
	return minus(f.Needed+short.Claimed, free)
}
