package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/sysfs"
)

// capture packs the files that match and, of every process that has or maps huge pages, what /proc shows of it.
func capture(patterns []string) ([]byte, error) {
	files := read(patterns)
	for name, data := range files {
		files[name] = essence(name, data)
	}
	for name, data := range hugetlbMounts(files["/proc/mounts"]) {
		files[name] = data
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range processes {
		status, mapped := one(dir+"/status"), one(dir+"/maps")
		// Pages that are only reserved show as a mapping alone; numa_maps would cost a walk of all page tables.
		touched := strings.Contains(status, "HugetlbPages:") && !strings.Contains(status, "HugetlbPages:\t       0 kB")
		if !touched && !strings.Contains(mapped, "/dev/hugepages") && !strings.Contains(mapped, "/memfd:") {
			continue
		}
		for _, name := range []string{"cgroup", "cmdline", "comm", "maps", "numa_maps", "stat", "status"} {
			for path, data := range read([]string{dir + "/" + name}) {
				files[path] = data
			}
		}
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zip)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		header := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: 0o644, Size: int64(len(data))}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write([]byte(data)); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// hugetlbMounts are what sysfs.FS.HugetlbFree and sysfs.FS.Files read of captured hugetlbfs mounts.
func hugetlbMounts(mounts string) map[string]string {
	files := map[string]string{}
	for _, line := range strings.Split(mounts, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[2] != "hugetlbfs" {
			continue
		}
		found, _ := sysfs.New("").Files(fields[1], time.Now().Add(time.Second))
		if len(found) > 0 {
			var text strings.Builder
			for _, file := range found {
				fmt.Fprintln(&text, file)
			}
			files[fields[1]+".files"] = text.String()
		}
		if !strings.Contains(","+fields[3], ",size=") {
			continue
		}
		var st unix.Statfs_t
		if unix.Statfs(fields[1], &st) == nil {
			files[fields[1]+".statfs"] = fmt.Sprintf("%d %d\n", st.Blocks, st.Bfree)
		}
	}
	return files
}

// essence leaves out what would only make a capture large: the comments of qemu.conf, and of libvirt's cache of
// what an emulator can do all but who wrote it about which.
func essence(name, data string) string {
	var keep func(line string) bool
	switch {
	case filepath.Base(name) == "qemu.conf":
		keep = func(line string) bool { return !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" }
	case filepath.Base(filepath.Dir(name)) == "capabilities":
		keep = func(line string) bool {
			element := strings.TrimLeft(strings.TrimSpace(line), "</")
			for _, kept := range []string{"?xml", "qemuCaps>", "emulator>", "qemuctime>", "selfctime>", "selfvers>", "version>", "package>", "arch>"} {
				if strings.HasPrefix(element, kept) {
					return true
				}
			}
			return false
		}
	default:
		return data
	}
	var kept strings.Builder
	for _, line := range strings.SplitAfter(data, "\n") {
		if keep(line) {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// one returns what one file says, "" if it cannot be read.
func one(name string) string { return read([]string{name})[name] }
