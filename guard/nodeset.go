package guard

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// NodeSet is a set of NUMA node numbers, ascending. nil is no set at all, which is something else than an empty one.
type NodeSet []int

// Has reports whether node is in the set.
func (s NodeSet) Has(node int) bool {
	_, ok := slices.BinarySearch(s, node)
	return ok
}

// And returns the nodes that are in both sets; never nil.
func (s NodeSet) And(t NodeSet) NodeSet {
	both := NodeSet{}
	for _, node := range s {
		if t.Has(node) {
			both = append(both, node)
		}
	}
	return both
}

// Or returns the nodes that are in either set; never nil.
func (s NodeSet) Or(t NodeSet) NodeSet {
	either := append(append(NodeSet{}, s...), t...)
	slices.Sort(either)
	return slices.Compact(either)
}

// Without returns the nodes that are not in t; never nil.
func (s NodeSet) Without(t NodeSet) NodeSet {
	return slices.DeleteFunc(append(NodeSet{}, s...), t.Has)
}

// within reports whether all of the nodes are in t.
func (s NodeSet) within(t NodeSet) bool {
	return !slices.ContainsFunc(s, func(node int) bool { return !t.Has(node) })
}

// key is equal for equal sets.
func (s NodeSet) key() string {
	key := make([]byte, 0, 4*len(s))
	for _, node := range s {
		key = binary.AppendUvarint(key, uint64(node))
	}
	return string(key)
}

// String prints the set with ranges: "0-1,8".
func (s NodeSet) String() string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		first := s[i]
		for i+1 < len(s) && s[i+1] == s[i]+1 {
			i++
		}
		b.WriteString(strconv.Itoa(first))
		if s[i] > first {
			b.WriteString("-" + strconv.Itoa(s[i]))
		}
	}
	return b.String()
}

// CPUSet is a set of CPU numbers, ascending. nil is all of them, or one of which nothing is known.
type CPUSet []int

// and returns the CPUs that are in both sets.
func (s CPUSet) and(t CPUSet) CPUSet {
	switch {
	case s == nil:
		return t
	case t == nil:
		return s
	}
	return CPUSet(NodeSet(s).And(NodeSet(t)))
}

// minus is a - b, or 0 where b is larger.
func minus(a, b uint64) uint64 { return a - min(a, b) }
