package guard

import (
	"fmt"
	"slices"
	"strings"
)

// left is how many pages more fit under a limit.
func (l PageLimit) left() uint64 { return minus(l.Pages, l.Used) }

// limits returns the limits on a pool's pages that backends exceed, and what
// may be one. All are met whatever is free: those on a mapping before the pool
// itself is looked at (hugetlb_reserve_pages), that on touched pages when QEMU
// populates its memory (hugetlb_cgroup_charge_cgroup).
func (s simulation) limits(pool SizePool, backends []placed) (met []failure, risks []Finding) {
	page := Size(pool.PageKiB)
	if limited, certain := s.mountLimit(pool, backends); limited != nil {
		files := sumFiles(backends)
		f := failure{code: codeMountLimit, cause: CauseMountLimit, backend: backends[0].ID, pageKiB: pool.PageKiB,
			needed: files, free: limited.Limit.left(), total: limited.Limit.Pages,
			message: fmt.Sprintf("hugetlbfs at %s has %d of its %d %s pages left (size=), %d needed",
				shown(limited.Path), limited.Limit.left(), limited.Limit.Pages, page, files)}
		if certain {
			f.remedy = limited.remedy(files)
			met = append(met, f)
		} else {
			risks = append(risks, f.finding(s.host, SeverityWarn,
				fmt.Sprintf("it fails unless libvirt takes another mount of %s pages: %s", page, f.message)))
		}
	}
	needed := sum(backends)
	for _, l := range s.host.cgroup().Limits {
		if l.PageKiB != pool.PageKiB || needed <= l.left() {
			continue
		}
		counted := "used"
		if l.Reserved {
			counted = "reserved"
		}
		met = append(met, failure{code: codeCgroupLimit, cause: CauseCgroupLimit, backend: backends[0].ID, pageKiB: pool.PageKiB,
			needed: needed, free: l.left(), total: l.Pages, remedy: l.remedy(needed),
			message: fmt.Sprintf("%s allows %d %s huge pages and %d are %s, %d needed", shown(l.File), l.Pages, page, l.Used, counted, needed)})
	}
	return met, risks
}

// mountLimit returns the mount that libvirt takes for a pool's pages if the
// backends' files are too large for it (hugepage_subpool_get_pages), and
// whether that is certain: they are for every other mount of that size, too, or
// qemu.conf says which it is, rather than what was mounted when the daemon
// started.
func (s simulation) mountLimit(pool SizePool, backends []placed) (limited *Mount, certain bool) {
	files := sumFiles(backends)
	certain = true
	for _, m := range s.host.Mounts {
		switch {
		case m.PageKiB != pool.PageKiB:
		case m.Limit == nil || files <= m.Limit.left():
			if limited == nil {
				return nil, false
			}
			certain = s.host.Configured
		case limited == nil:
			limited = &m
		}
	}
	return limited, certain
}

// sumFiles is how many pages backends want of a mount.
func sumFiles(backends []placed) uint64 {
	return sum(slices.DeleteFunc(slices.Clone(backends), func(p placed) bool { return p.Memfd }))
}

// remedy is the command that puts over a mount one with room for so many pages
// more. A remount would not do: the kernel ignores its size= without a word
// (hugetlbfs_fs_context_ops knows no reconfiguration).
func (m Mount) remedy(pages uint64) string {
	return onPath("mount -t hugetlbfs -o pagesize=%dK,size=%d hugetlbfs %s", m.Path, m.PageKiB, (m.Limit.Used+pages)*m.PageKiB*1024)
}

// remedy is the command that raises a limit to so many pages more.
func (l PageLimit) remedy(pages uint64) string {
	return onPath("echo %d > %s", l.File, (l.Used+pages)*l.PageKiB*1024)
}

// onPath is a command that ends in a path; "" where the path has characters
// that cannot be shown.
func onPath(command, path string, args ...any) string {
	if strings.ContainsFunc(path, func(r rune) bool { return r != '\\' && Printable(string(r), 9) != string(r) }) {
		return ""
	}
	if strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+:@%,=", r) && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	}) {
		path = "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return fmt.Sprintf(command, append(args, path)...)
}

// maxPath is how many bytes of a path a line shows.
const maxPath = 120

// shown is a path as a line shows it.
func shown(path string) string { return Printable(path, maxPath) }
