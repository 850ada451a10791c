package sysfs

import (
	"fmt"
	"strings"
)

// shared are file systems that several hosts mount, or that may not answer. All of FUSE are among them.
var shared = []string{"9p", "afs", "beegfs", "ceph", "cifs", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "ocfs2", "smb", "virtiofs"}

// SharedStorage reports whether a process sees at a path a file system that other hosts may have mounted, too, by
// /proc/PID/mounts; with pid 0, whether this one does. The file system itself is not asked. A captured host knows only of
// what lies in /path.unsure.
func (f FS) SharedStorage(pid int, path string) (is bool, err error) {
	local := f.Sure(strings.TrimPrefix(path, "/"), func() bool {
		name := "proc/mounts"
		if pid > 0 {
			name = fmt.Sprintf("proc/%d/mounts", pid)
		}
		unrecorded := f
		unrecorded.recorder = nil
		var text []byte
		text, err = unrecorded.ReadFile(name, tableLimit)
		return err == nil && !isShared(fileSystem(string(text), path))
	})
	return !local, err
}

// fileSystem returns the type of the file system at a path by a file of mounts, "" for none.
func fileSystem(mounts, path string) (kind string) {
	longest := -1
	for line := range lines(mounts) {
		m, err := parseMountLine(line)
		if err != nil {
			continue
		}
		at := strings.TrimSuffix(m.path, "/")
		if (path == at || strings.HasPrefix(path, at+"/")) && len(at) >= longest {
			longest, kind = len(at), m.kind
		}
	}
	return kind
}

// isShared reports whether a type of file system is one of shared.
func isShared(kind string) bool {
	for _, s := range shared {
		if strings.HasPrefix(kind, s) && kind != "fuseblk" && kind != "fusectl" {
			return true
		}
	}
	return false
}
