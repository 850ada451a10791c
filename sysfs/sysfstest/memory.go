package sysfstest

import (
	"os"

	"golang.org/x/sys/unix"
)

// InMemory runs tests with their temporary files in memory, where the many small files of a host take a fraction of the
// time, and removes what they leave. It returns the status that run returns. Without a /dev/shm from which programs may
// be run, the files stay where they were.
func InMemory(run func() int) int {
	const shm = "/dev/shm"
	var fs unix.Statfs_t
	if err := unix.Statfs(shm, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Flags&unix.ST_NOEXEC != 0 {
		return run()
	}
	dir, err := os.MkdirTemp(shm, "hugeguard")
	if err != nil {
		return run()
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		panic(err)
	}
	return run()
}
