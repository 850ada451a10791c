package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/sysfs"
)

// RefusedDir has a file for each instance of Nova whose start was refused since the boot, named by its UUID, below the
// root.
const RefusedDir = Dir + "/refused"

// mostRefused is how many instances are kept: the latest.
const mostRefused = 200

// A file's text is a line for the instance, and one for each pool:
//
//	hugeguard refused 1 "instance-0000000e"
//	512 pages of 2048 KiB on node 0
const (
	refusedFormat = "hugeguard refused 1 %q\n"
	poolFormat    = "%d pages of %d KiB on node %d\n"
	refusedLimit  = 64 << 10 // of a file, in bytes
)

// KeepRefused keeps what Nova counts for an instance whose start was refused: Nova may still count it when its domain
// is gone.
func KeepRefused(root sysfs.FS, i guard.Instance) error {
	if !IsUUID(i.UUID) {
		return fmt.Errorf("%q is no UUID", guard.Printable(i.UUID, 80))
	}
	parent, err := openDir(root.Path(Dir))
	if err != nil {
		return err
	}
	unix.Close(parent)
	dir := root.Path(RefusedDir)
	if err := forgetRefused(dir); err != nil {
		return err
	}
	return keep(dir, i.UUID, refusedText(i))
}

// ForgetRefused forgets what [KeepRefused] kept of an instance, if it did. It costs one call of the kernel.
func ForgetRefused(root sysfs.FS, uuid string) {
	if IsUUID(uuid) {
		_ = unix.Unlink(root.Path(RefusedDir + "/" + uuid)) // as a rule there is none
	}
}

// forgetRefused makes room for one more.
func forgetRefused(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || len(entries) < mostRefused {
		return err
	}
	age := func(e os.DirEntry) int64 {
		info, err := e.Info()
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(age(a), age(b)) })
	for _, e := range entries[:len(entries)-mostRefused+1] {
		_ = os.Remove(dir + "/" + e.Name()) // another start may have done it
	}
	return nil
}

func refusedText(i guard.Instance) []byte {
	text := fmt.Appendf(nil, refusedFormat, i.Name)
	pools := slices.SortedFunc(maps.Keys(i.Pages), func(a, b nova.Pool) int {
		return cmp.Or(cmp.Compare(a.PageKiB, b.PageKiB), cmp.Compare(a.Node, b.Node))
	})
	for _, pool := range pools {
		text = fmt.Appendf(text, poolFormat, i.Pages[pool], pool.PageKiB, pool.Node)
	}
	return text
}

// ReadRefused returns what [KeepRefused] kept of an instance.
func ReadRefused(root sysfs.FS, uuid string) (guard.Instance, error) {
	name := RefusedDir + "/" + uuid
	read := root.ReadOwn
	if !root.Live() {
		read = root.ReadFile // whose it was is not captured
	}
	text, err := read(name, refusedLimit)
	if err != nil {
		return guard.Instance{}, err
	}
	i, err := ParseRefused(text)
	if err != nil {
		return guard.Instance{}, fmt.Errorf("%s: %w", root.Path(name), err)
	}
	i.UUID = uuid
	return i, nil
}

// ParseRefused reads what [KeepRefused] wrote, which has no UUID in it.
func ParseRefused(text []byte) (i guard.Instance, err error) {
	i.Pages = map[nova.Pool]uint64{}
	first, rest, _ := strings.Cut(string(text), "\n")
	_, err = fmt.Sscanf(first+"\n", refusedFormat, &i.Name)
	for line := range strings.Lines(rest) {
		var pool nova.Pool
		var pages uint64
		if err == nil {
			_, err = fmt.Sscanf(line, poolFormat, &pages, &pool.PageKiB, &pool.Node)
		}
		if err != nil || pages > 1<<40 || pool.PageKiB == 0 || pool.PageKiB > 1<<40 || pool.Node < 0 {
			return guard.Instance{}, errForeign
		}
		i.Pages[pool] = pages
	}
	if err != nil || !bytes.Equal(refusedText(i), text) {
		return guard.Instance{}, errForeign
	}
	return i, nil
}

// ReduceRefused returns what a capture keeps of a file of [RefusedDir]: all of it, or of what makes no sense what makes
// none either.
func ReduceRefused(text []byte) ([]byte, error) {
	if _, err := ParseRefused(text); err != nil {
		return []byte("no refusal\n"), nil
	}
	return text, nil
}

// IsUUID reports whether a name has the form in which Nova and libvirt write UUIDs.
func IsUUID(name string) bool {
	if len(name) != 36 {
		return false
	}
	for i, r := range name {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') || !dash && !strings.ContainsRune("0123456789abcdef", r) {
			return false
		}
	}
	return true
}
