package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard/fix"
)

// raiseLimits says how to raise limits.
func raiseLimits(r fix.RaiseLimits) Fix {
	f := onHost("raise the limit to "+limitSizes(r.Limits), slices.Concat(limits(r.Limits), shownLimits(r.Limits))...)
	f.short = strings.Join(limits(r.Limits), "; ")
	f.Cost, f.Lasting = limitCost(r.Limits), keepLimits(r.Limits)
	return f
}

// limits returns the commands that raise limits. Over a mount is put one with more room: the kernel ignores the size=
// of a remount without a word (hugetlbfs_fs_context_ops knows no reconfiguration).
func limits(limits []fix.Limit) (lines []string) {
	for _, l := range limits {
		path := ShellWord(l.Path)
		switch {
		case path == "":
		case l.Mount:
			lines = append(lines, fmt.Sprintf("mount -t hugetlbfs -o %s hugetlbfs %s", mountOptions(l), path))
		default:
			lines = append(lines, fmt.Sprintf("echo %d > %s", l.Pages*l.PageKiB*1024, path))
		}
	}
	return lines
}

// shownLimits are the commands that show control groups' limits as they are then, in bytes.
func shownLimits(limits []fix.Limit) (lines []string) {
	for _, l := range limits {
		if word := ShellWord(l.Path); !l.Mount && word != "" {
			lines = append(lines, "cat "+word)
		}
	}
	return lines
}

// limitSizes says how much limits are to be.
func limitSizes(limits []fix.Limit) string {
	var each []string
	for _, l := range limits {
		each = append(each, pagesOf(l.Pages, l.PageKiB))
	}
	return enumerate(slices.Compact(each), 3)
}

func mountOptions(l fix.Limit) string {
	return fmt.Sprintf("pagesize=%dK,size=%d", l.PageKiB, l.Pages*l.PageKiB*1024)
}

// limitCost says what else follows from raised limits.
func limitCost(limits []fix.Limit) string {
	if slices.ContainsFunc(limits, func(l fix.Limit) bool { return l.Mount }) {
		return "the files on the old mount are hidden: running guests keep theirs, other programs cannot open theirs by name"
	}
	return "all that runs below that control group can take that much together"
}

// keepLimits says how to keep limits raised. systemd has no setting for huge pages of a slice (systemd.resource-control).
func keepLimits(limits []fix.Limit) (lines []string) {
	for _, l := range limits {
		switch {
		case l.Mount && l.Path == "/dev/hugepages":
			lines = append(lines, "mkdir -p /etc/systemd/system/dev-hugepages.mount.d",
				fmt.Sprintf(`printf '[Mount]\nOptions=%s\n' > /etc/systemd/system/dev-hugepages.mount.d/size.conf`, mountOptions(l)))
		case l.Mount:
			lines = append(lines, fmt.Sprintf("%s as options of %s in /etc/fstab, or in its mount unit", mountOptions(l), path(l.Path)))
		default:
			lines = append(lines, fmt.Sprintf("systemd has no setting for this: change it in the program or the unit that writes %s", path(l.Path)))
		}
	}
	return lines
}
