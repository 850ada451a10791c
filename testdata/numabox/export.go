package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/tools/txtar"

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
	"/usr/share/dbus-1/system-services/org.freedesktop.machine1.service", "/etc/libvirt/qemu.conf", "/var/cache/libvirt/qemu/capabilities/*.xml", "/run/libvirt/qemu/*.pid", "/run/libvirt/qemu/*.xml",
}

// pack returns the box as a captured host, packed.
func (b *box) pack() ([]byte, error) {
	r, err := b.call(wire.Request{Capture: hostFiles}, patience)
	return r.Packed, err
}

// A capture is what a scenario showed: the host before it, the XML as the hook got it, and what became of it.
type capture struct {
	files map[string][]byte // of the host, without the leading slash
	xml   string
	truth any
}

func newCapture(packed []byte, xml string, truth any) (capture, error) {
	files, err := unpack(packed)
	return capture{files, xml, truth}, err
}

// folder writes it as hugeguard check --root DIR/host reads it.
func (c capture) folder(dir string) error {
	truth, err := c.truthText()
	if err != nil {
		return err
	}
	for name, data := range c.files {
		if err := writeFile(filepath.Join(dir, "host", filepath.FromSlash(name)), data); err != nil {
			return err
		}
	}
	return errors.Join(writeFile(filepath.Join(dir, "prepare.xml"), []byte(c.xml)), writeFile(filepath.Join(dir, "truth.json"), truth))
}

// archive writes it as one text archive, as [sysfstest.Archive] reads it.
func (c capture) archive(file string) error {
	truth, err := c.truthText()
	if err != nil {
		return err
	}
	a := txtar.Archive{Files: []txtar.File{{Name: "truth.json", Data: truth}, {Name: "prepare.xml", Data: []byte(c.xml)}}}
	for _, name := range slices.Sorted(maps.Keys(c.files)) {
		data := c.files[name]
		if bytes.IndexByte(data, 0) >= 0 {
			name += ".base64"
			data = append([]byte(base64.StdEncoding.EncodeToString(data)), '\n')
		}
		a.Files = append(a.Files, txtar.File{Name: name, Data: data})
	}
	return writeFile(file, txtar.Format(&a))
}

func (c capture) truthText() ([]byte, error) {
	text, err := json.MarshalIndent(c.truth, "", " ")
	return append(text, '\n'), err
}

func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

func unpack(packed []byte) (map[string][]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	archive := tar.NewReader(zip)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			return nil, err
		}
	}
}
