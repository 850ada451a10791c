package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
)

// releases says with which releases a launch fails, as far as these are not known.
func releases(when guard.IfReleases) string {
	if when.All == nil {
		return "with some releases of libvirt and QEMU"
	}
	all := when.All
	if len(all) == 2 {
		if both, ok := between(all[0], all[1]); ok {
			all = []guard.Combinations{both}
		}
	}
	text := combinations(when.Known, all[0])
	for _, c := range all[1:] {
		also := combinations(when.Known, c)
		if strings.HasPrefix(also, "with") {
			text += ", and only"
		}
		text += " " + also
	}
	return text
}

// between returns two combinations as one, where they are those before a release of libvirt and those since another.
func between(before, since guard.Combinations) (guard.Combinations, bool) {
	if since.Others {
		before, since = since, before
	}
	plain := before.Others && !since.Others && !before.Cpuset && before.QEMU == (guard.Changes{}) && before.Kernel == (guard.Changes{}) && since.Libvirt.Until == 0
	both := since
	both.Libvirt.Until = before.Libvirt.Since
	return both, plain && 0 < since.Libvirt.Since && since.Libvirt.Since < before.Libvirt.Since
}

// combinations says which combinations of libvirt, QEMU and the kernel are meant.
func combinations(known guard.Releases, c guard.Combinations) string {
	which, join, cpuset := has, " and ", "where libvirt may use the cpuset controller"
	if c.Others {
		which, join, cpuset = hasNot, " or ", "where libvirt may not use the cpuset controller"
	}
	if c.Libvirt == (guard.Changes{}) && c.QEMU == (guard.Changes{}) && c.Kernel == (guard.Changes{}) {
		return cpuset
	}
	parts := []string{which("libvirt", known.Libvirt, c.Libvirt), which("QEMU", known.QEMU, c.QEMU), which("Linux", known.Kernel, c.Kernel)}
	text := "with " + strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), join)
	switch {
	case !c.Cpuset || known.Cpuset != nil:
		return text
	case c.Others:
		return text + " or " + cpuset
	}
	return text + " " + cpuset
}

// has says which releases have changes, as far as that is not known of the one at hand: "" where it has them.
func has(name string, r guard.Release, c guard.Changes) string {
	switch {
	case r.Version == 0 && c.Until != 0:
		return fmt.Sprintf("%s %s to %s", name, series(c.Since), series(c.Until-1))
	case r.Version == 0 && c.Since != 0:
		return fmt.Sprintf("%s %s or later", name, series(c.Since))
	}
	begun, ends := r.Version >= c.Since, c.Until != 0 && r.Patched
	switch {
	case begun && ends:
		return fmt.Sprintf("%s %s if it lacks what %s changed", name, r.Version, series(c.Until))
	case begun:
		return ""
	case ends:
		return fmt.Sprintf("%s %s if it has what %s changed and lacks what %s did", name, r.Version, series(c.Since), series(c.Until))
	}
	return fmt.Sprintf("%s %s if it has what %s changed", name, r.Version, series(c.Since))
}

// hasNot says which releases lack a change, as far as that is not known of the one at hand: "" where it has it.
func hasNot(name string, r guard.Release, c guard.Changes) string {
	switch {
	case r.Version >= c.Since:
		return ""
	case r.Version == 0:
		return fmt.Sprintf("%s before %s", name, series(c.Since))
	}
	return fmt.Sprintf("%s %s if it lacks what %s changed", name, r.Version, series(c.Since))
}

// series is the first two numbers of a version, by which releases are spoken of.
func series(v guard.Version) string { return fmt.Sprintf("%d.%d", v/1_000_000, v/1_000%1_000) }
