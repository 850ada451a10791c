package sysfs

import (
	"io/fs"
	"syscall"
)

// retry repeats a system call that a signal interrupted, as the Go runtime's own preemption signals do.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// statPath is stat(2).
func statPath(path string, stat *syscall.Stat_t) error {
	_, err := retry(func() (int, error) { return 0, syscall.Stat(path, stat) })
	if err != nil {
		return &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return nil
}

// lstatPath is lstat(2).
func lstatPath(path string, stat *syscall.Stat_t) error {
	_, err := retry(func() (int, error) { return 0, syscall.Lstat(path, stat) })
	if err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return nil
}
