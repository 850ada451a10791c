// Package machine is what the tiers of tests have to do with the machine they run on: which sizes of huge pages it
// has, pools of them where its memory is in pieces, and how to keep the tests from all that is installed on it.
package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// HugePages is where the kernel lists its sizes of huge pages, each with its pool.
const HugePages = "/sys/kernel/mm/hugepages"

// Sizes returns the sizes of the kernel's huge pages in KiB, the smallest first.
func Sizes() (sizes []uint64, err error) {
	dirs, err := os.ReadDir(HugePages)
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		name, _ := strings.CutPrefix(dir.Name(), "hugepages-")
		kib, err := strconv.ParseUint(strings.TrimSuffix(name, "kB"), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(HugePages, dir.Name()), err)
		}
		sizes = append(sizes, kib)
	}
	slices.Sort(sizes)
	return sizes, nil
}
