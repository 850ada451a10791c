package compute

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/hook/ledger"
	"hugeguard/sysfs"
)

// Nova undefines the domain of an instance whose start fails in a resize, a migration or a hard reboot, leaves its
// directory, and still counts it, since its database has the instance on this host. A directory that is renamed to
// UUID_resize is that of an instance that left, which Nova counts until that is confirmed. In a rebuild Nova removes the
// directory, too, and still counts the instance. This looks like the end of a boot, or of a deletion. But an instance
// whose first boot was refused has never had a QEMU here: libvirt's log of it says no more than that the start failed.

// Limits of what is read of instances.
const (
	mostInstances = 20_000 // directories
	mostNamed     = 100    // of these without a domain that are named; more are only counted
)

// addLost adds the instances that Nova counts though they have no domain.
func addLost(root sysfs.FS, n *guard.Nova, c compute, config nova.Config, deadline time.Time) {
	defined := func(uuid string) bool {
		return slices.ContainsFunc(n.Instances, func(i guard.Instance) bool { return i.UUID == uuid })
	}
	refused, _ := root.ReadDir(ledger.RefusedDir) // none was refused
	refused = slices.DeleteFunc(refused, func(name string) bool { return !ledger.IsUUID(name) || defined(name) })
	slices.Sort(refused)
	dirs, err := instanceDirs(root, c, config, deadline)
	if err != nil {
		n.Uncounted = refused // their directories may be there
		if !errors.Is(err, fs.ErrNotExist) {
			n.Unlisted = guard.Printable(err.Error(), 400)
		}
		return
	}
	unnamed := 0
	for _, dir := range dirs {
		uuid, moved := strings.CutSuffix(dir, "_resize")
		if !ledger.IsUUID(uuid) || !moved && defined(uuid) {
			continue
		}
		if !moved && slices.Contains(refused, uuid) {
			if instance, err := ledger.ReadRefused(root, uuid); err == nil {
				n.Refused = append(n.Refused, instance)
				continue
			}
		}
		if len(n.Uncounted) == mostNamed {
			unnamed++
			continue
		}
		n.Uncounted = append(n.Uncounted, dir)
	}
	if unnamed > 0 {
		n.Unlisted = fmt.Sprintf("%d more directories of instances have no domain", unnamed)
	}
	for _, uuid := range refused {
		if !slices.Contains(dirs, uuid) && ranBefore(root, uuid) {
			n.Uncounted = append(n.Uncounted, uuid)
		}
	}
}

// ranBefore reports whether a refused instance has had a QEMU here.
func ranBefore(root sysfs.FS, uuid string) bool {
	instance, err := ledger.ReadRefused(root, uuid)
	if err != nil || strings.Contains(instance.Name, "/") {
		return false
	}
	log, err := root.ReadStartOfRoots(DomainLogs+"/"+instance.Name+".log", logLimit)
	return err == nil && Ran(log)
}

// DomainLogs is the directory of libvirt's logs of the domains.
const DomainLogs = "var/log/libvirt/qemu"

// logLimit is how many bytes of a log are read. A log begins with the first start.
const logLimit = 4096

// Ran reports whether the start of libvirt's log of a domain, cut anywhere, is of more than starts that ended before
// there was a QEMU.
func Ran(log []byte) bool {
	for line := range bytes.Lines(log) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // cut, or being written
		}
		if !bytes.HasSuffix(line, []byte(": shutting down, reason=failed\n")) {
			return true
		}
	}
	return false
}

// ReduceLog returns what a capture keeps of a domain's log: whether it [Ran].
func ReduceLog(log []byte) ([]byte, error) {
	if Ran(log) {
		return []byte("ran\n"), nil
	}
	return []byte{}, nil
}

// instanceDirs returns the names of instances' directories without a domain that Nova's instances may have here. It is
// an error if they may be other hosts', or their file system may not answer.
func instanceDirs(root sysfs.FS, c compute, config nova.Config, deadline time.Time) ([]string, error) {
	dir, ok := config.Instances()
	if !ok {
		return nil, errors.New("instances_path of Nova's configuration depends on another option")
	}
	base, owners := "", []int(nil)
	if c.pid > 0 {
		base, owners = fmt.Sprintf("proc/%d/root", c.pid), []int{0, c.uid}
	}
	if _, err := root.Stat(base); err != nil {
		base, owners = "", nil
	}
	shared, err := root.SharedStorage(c.pid, dir)
	if err != nil {
		return nil, err
	}
	if shared {
		return nil, fmt.Errorf("%s is on shared storage, and may have other hosts' instances", dir)
	}
	names, _, err := root.ReadDirOf(base, dir, mostInstances, deadline, owners...)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if uuid, _ := strings.CutSuffix(name, "_resize"); ledger.IsUUID(uuid) {
			_, _ = root.Stat(path.Join(base, dir, name)) // for a capture
		}
	}
	return names, nil
}
