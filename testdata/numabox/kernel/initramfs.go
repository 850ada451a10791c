package main

import (
	"bytes"
	"fmt"
)

// initramfs is an archive in the format that the kernel unpacks at boot
// ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).
type initramfs struct {
	archive bytes.Buffer
	inode   int
}

const (
	modeFile       = 0o100755
	modeDir        = 0o040755
	modeCharDevice = 0o020600
)

func (r *initramfs) file(name string, content []byte) { r.add(name, modeFile, 0, 0, content) }

func (r *initramfs) dir(name string) { r.add(name, modeDir, 0, 0, nil) }

// console is what the kernel opens for process 1.
func (r *initramfs) console() { r.add("dev/console", modeCharDevice, 5, 1, nil) }

func (r *initramfs) add(name string, mode, major, minor int, content []byte) {
	r.inode++
	fmt.Fprintf(&r.archive, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		r.inode, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0)
	r.archive.WriteString(name)
	r.archive.WriteByte(0)
	r.pad()
	r.archive.Write(content)
	r.pad()
}

func (r *initramfs) pad() {
	for r.archive.Len()%4 != 0 {
		r.archive.WriteByte(0)
	}
}

// bytes ends the archive.
func (r *initramfs) bytes() []byte {
	r.add("TRAILER!!!", 0, 0, 0, nil)
	return r.archive.Bytes()
}
