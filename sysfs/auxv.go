package sysfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// atPageSize is AT_PAGESZ of getauxval(3).
const atPageSize = 6

// BasePageKiB returns the size in KiB of the kernel's ordinary pages, from the auxiliary vector that it hands to every
// process (/proc/self/auxv): 4 on x86-64, 4, 16 or 64 on arm64, usually 64 on ppc64le. ok is false in a captured host
// that lacks the file.
func (f FS) BasePageKiB() (kib uint64, ok bool, err error) {
	if f.Live() && f.recorder == nil {
		return uint64(os.Getpagesize()) / 1024, true, nil // from the same vector
	}
	const name = "proc/self/auxv"
	data, err := f.ReadFile(name, counterLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	_, size, err := parsePageSize(data)
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return size / 1024, true, nil
}

// auxvEntry is the size of one entry of a 64-bit auxiliary vector, in bytes: its type and its value.
const auxvEntry = 16

// parsePageSize finds AT_PAGESZ in a 64-bit auxiliary vector of either byte order, and returns the entry and its value
// in bytes.
func parsePageSize(auxv []byte) (entry []byte, size uint64, err error) {
	for rest := auxv; len(rest) >= auxvEntry; rest = rest[auxvEntry:] {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			size := order.Uint64(rest[8:])
			if order.Uint64(rest) == atPageSize && size >= 4<<10 && size <= 256<<10 {
				return rest[:auxvEntry], size, nil
			}
		}
	}
	return nil, 0, fmt.Errorf("no page size among %d bytes", len(auxv))
}

// reducePageSize keeps the page size: the vector has addresses besides. An entry of zeros ends it.
func reducePageSize(auxv []byte) ([]byte, error) {
	entry, _, err := parsePageSize(auxv)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(entry), make([]byte, auxvEntry)...), nil
}
