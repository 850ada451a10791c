package sysfs

import "testing"

func TestFileSystem(t *testing.T) {
	const mounts = "/dev/a / ext4 rw 0 0\nserver:/i /var/lib/nova nfs4 rw 0 0\n/dev/b /var/lib/nova/instances xfs rw 0 0\nx /srv\\040a fuse.sshfs rw 0 0\nx /var/lib/nova/instances2 ceph rw 0 0\n"
	for path, want := range map[string]bool{
		"/": false, "/srv": false, "/var/lib/nova": true, "/var/lib/nova/other": true, "/var/lib/nova/instances": false,
		"/var/lib/nova/instances/a": false, "/srv a/b": true, "/var/lib/nova/instances2": true, "/var/lib/novas": false,
	} {
		if got := isShared(fileSystem(mounts, path)); got != want {
			t.Errorf("%s lies on %s: shared %t, want %t", path, fileSystem(mounts, path), got, want)
		}
	}
}
