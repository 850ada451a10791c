package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"hugeguard/testdata/numabox/wire"
)

// hostFiles are what a captured host has, beside what /proc shows of those who hold huge pages.
var hostFiles = []string{
	"/sys/devices/system/node/has_*", "/sys/devices/system/node/online", "/sys/devices/system/node/possible",
	"/sys/devices/system/node/node*/cpulist", "/sys/devices/system/node/node*/distance", "/sys/devices/system/node/node*/meminfo",
	"/sys/devices/system/node/node*/hugepages/*/*_hugepages", "/sys/kernel/mm/hugepages/*/*_hugepages*",
	"/sys/fs/cgroup/cgroup.*controllers", "/sys/fs/cgroup/cgroup.subtree_control", "/sys/fs/cgroup/cpuset.*effective",
	"/sys/fs/cgroup/machine.slice/cgroup.*control*", "/sys/fs/cgroup/machine.slice/cpuset.*", "/sys/fs/cgroup/machine.slice/hugetlb.*",
	"/proc/meminfo", "/proc/mounts", "/proc/self/mountinfo", "/proc/filesystems", "/proc/cmdline", "/proc/buddyinfo",
	"/proc/sys/vm/nr_*hugepages*", "/proc/sys/kernel/osrelease", "/proc/sysvipc/shm",
	"/etc/libvirt/qemu.conf", "/run/libvirt/qemu/*.pid", "/run/libvirt/qemu/*.xml",
}

// pack returns the box as a captured host, packed.
func (b *box) pack() ([]byte, error) {
	r, err := b.call(wire.Request{Capture: hostFiles}, patience)
	return r.Packed, err
}

// capture writes the box as a captured host: host, the XML as the hook gets it, and what became of it.
func (b *box) capture(dir, xml string, truth any) error {
	packed, err := b.pack()
	if err != nil {
		return err
	}
	return writeCapture(dir, packed, xml, truth)
}

func writeCapture(dir string, packed []byte, xml string, truth any) error {
	if err := unpack(packed, filepath.Join(dir, "host")); err != nil {
		return err
	}
	text, err := json.MarshalIndent(truth, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "prepare.xml"), []byte(xml), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "truth.json"), append(text, '\n'), 0o644)
}

func unpack(packed []byte, dir string) error {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	archive := tar.NewReader(zip)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
}
