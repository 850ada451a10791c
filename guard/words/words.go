// Package words says what package guard found out: facts in, text out.
//
// [Line] is the line that libvirt appends to its error, [Summary] the same for those who read on, [Text] the whole for the
// terminal and [Entry] for the journal, [Fields] the journal's fields, and [NewReport] the object of "hugeguard check
// --json". What they have in common is said by [Finding] and [Fixes]; the other functions are for commands that show a
// host without judging.
//
// Names of domains, processes and files are other people's input: all of them pass [guard.Printable]. A line that begins
// with what is missing begins with the cause and the node: of the first 30 bytes, Nova shows no more.
package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
)

const (
	maxName = 60  // bytes of a name that a line shows
	maxPath = 120 // bytes of a path
)

// path is a path as a line shows it.
func path(p string) string { return guard.Printable(p, maxPath) }

// name is a name as a line shows it.
func name(n string) string { return guard.Printable(n, maxName) }

// cut is a text as a line shows it, within room bytes.
func cut(text string, room int) string {
	if shown := guard.Printable(text, room); len(shown) <= room {
		return shown
	}
	return guard.Printable(text, max(room-len("..."), 0))
}

// pageName is what the pages of a size in KiB are called: "2M" for those of 2 MiB.
func pageName(kib uint64) string {
	return strings.TrimSuffix(strings.Replace(guard.Size(kib), " ", "", 1), "iB")
}

// pageNames lists page sizes, with a word before the last.
func pageNames(kib []uint64, word string) string {
	each := make([]string, len(kib))
	for i, size := range kib {
		each[i] = pageName(size)
	}
	if last := len(each) - 1; last > 0 {
		return strings.Join(each[:last], ", ") + " " + word + " " + each[last]
	}
	return strings.Join(each, "")
}

// Pages says a number of pages of a size in KiB: "512 pages (1 GiB)".
func Pages(n, kib uint64) string {
	if n == 1 {
		return fmt.Sprintf("1 page (%s)", Amount(n, kib))
	}
	return fmt.Sprintf("%d pages (%s)", n, Amount(n, kib))
}

// Count says a number of pages where their size is known: "512 (1 GiB)".
func Count(n, kib uint64) string {
	if n == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", n, Amount(n, kib))
}

// Difference is [Count] of a number that may be below 0.
func Difference(n int64, kib uint64) string {
	if n < 0 {
		return "-" + Count(uint64(-n), kib)
	}
	return Count(uint64(n), kib)
}

// pagesOf says the same with the size: "512 pages of 2M (1 GiB)".
func pagesOf(n, kib uint64) string {
	count, amount, _ := strings.Cut(Pages(n, kib), " (")
	return fmt.Sprintf("%s of %s (%s", count, pageName(kib), amount)
}

// Amount says how much memory pages of a size in KiB are, for people: in the largest unit of which it is one or more,
// with a decimal where that is worth one: "600 MiB", "3.3 GiB", "1 GiB".
func Amount(n, kib uint64) string {
	size, unit := float64(n)*float64(kib), 0
	for ; size >= 1024 && unit < 4; unit++ {
		size /= 1024
	}
	text := fmt.Sprintf("%.0f", size)
	if size < 10 || unit > 1 {
		text = strings.TrimSuffix(fmt.Sprintf("%.1f", size), ".0")
	}
	return text + " " + [...]string{"KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
}

// free says how much of a pool is free: "0 of 1024 free (0 of 2 GiB)".
func free(free, total, kib uint64) string {
	if total == 0 {
		return "none"
	}
	all := Amount(total, kib)
	some := strings.TrimSuffix(Amount(free, kib), all[strings.Index(all, " "):]) // the unit, where it is the same
	if free == 0 {
		some = "0"
	}
	return fmt.Sprintf("%d of %d free (%s of %s)", free, total, some, all)
}

// nodes says a set of nodes: "node 0", "nodes 0-1".
func nodes(s guard.NodeSet) string {
	if len(s) == 1 {
		return "node " + s.String()
	}
	return "nodes " + s.String()
}

// cpus says a set of CPUs, cut where it is long: "CPU 0", "CPUs 0-1".
func cpus(s guard.CPUSet) string {
	set := guard.NodeSet(s).String()
	if len(s) == 1 {
		return "CPU " + set
	}
	return "CPUs " + guard.Printable(set, 60)
}

// enumerate joins the first few of parts and says how many more there are.
func enumerate(parts []string, most int) string {
	if more := len(parts) - most; more > 0 {
		parts = append(slices.Clone(parts[:most]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(parts, ", ")
}

// inParentheses is a text behind another; "" of none.
func inParentheses(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// guests names a few guests, or the directories of some.
func guests(names []string) string {
	var each []string
	for _, n := range names {
		each = append(each, name(n))
	}
	return enumerate(each, 3)
}
