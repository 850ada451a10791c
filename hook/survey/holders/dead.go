package holders

import (
	"path"
	"slices"
	"strings"

	"hugeguard/guard"
)

// deadGuest returns the guest that is gone whose memory a file is, as guard.Holder names it; "" for any other file. A
// guest's memory without a QEMU that uses it is kept by the vhost-user back ends that it had. Who could not be asked
// may be its QEMU.
func (t *tally) deadGuest(f *file) string {
	if !t.complete || slices.ContainsFunc(f.users, func(u holderKey) bool { return u.kind == guard.HolderGuest || t.qemus[u.pid] }) {
		return ""
	}
	return guestOfFile(f.name)
}

// keepsDead reports whether some file may be the memory of a guest that is gone.
func (t *tally) keepsDead() bool {
	for _, f := range t.files {
		if t.deadGuest(f) != "" {
			return true
		}
	}
	return false
}

// guestOfFile returns whose memory a file of that name is: libvirt gives each run of a guest a folder of the run's
// number and the guest's name (virDomainDefGetShortName), below libvirt/qemu on hugetlbfs (virGetHugepagePath) and below
// libvirt/qemu/ram for files of other memory. QEMU calls its memfds after the sort of its memory backend alone.
func guestOfFile(name string) string {
	if strings.HasPrefix(name, "/memfd:memory-backend-memfd") {
		return guard.UnknownGuest
	}
	run := path.Base(path.Dir(name))
	number, _, ok := strings.Cut(run, "-")
	if ok && number != "" && strings.Trim(number, "0123456789") == "" && strings.Contains(name, "/libvirt/qemu/") {
		return run
	}
	return ""
}
