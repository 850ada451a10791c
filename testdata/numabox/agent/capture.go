package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// capture packs the files that match and, of every process that has or maps huge pages, what /proc shows of it.
func capture(patterns []string) ([]byte, error) {
	files := read(patterns)
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

// one returns what one file says, "" if it cannot be read.
func one(name string) string { return read([]string{name})[name] }
