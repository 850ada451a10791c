package holders

import (
	"cmp"
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

// describeDead adds what the words and the fixes depend on of the guest that is gone whose memory a holder keeps.
// Several guests may have the same short name.
func (f *finder) describeDead(h *guard.Holder) {
	if h.Guest == guard.UnknownGuest {
		h.Guest = cmp.Or(guard.GuestOfScope(h.Unit), h.Guest)
	}
	_, name, _ := strings.Cut(h.Guest, "-")
	if name == "" || strings.Contains(name, "/") {
		return
	}
	same := func(full string) bool { return guard.Domain{Name: full}.ShortName() == name }
	var defined []string
	files, _ := f.ReadDir("etc/libvirt/qemu") // none is defined
	for _, file := range files {
		if full, ok := strings.CutSuffix(file, ".xml"); ok && same(full) {
			defined = append(defined, full)
		}
	}
	h.Own = same(f.self.Name) && !slices.ContainsFunc(defined, func(full string) bool { return full != f.self.Name })
	h.Defined = h.Own || defined != nil
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
