package sysfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// atPageSize is AT_PAGESZ of getauxval(3).
const atPageSize = 6

// BasePageKiB returns the size in KiB of the kernel's ordinary pages, from
// the auxiliary vector that it hands to every process (/proc/self/auxv): 4 on
// x86-64, 4, 16 or 64 on arm64, usually 64 on ppc64le. ok is false in a
// captured host that lacks the file.
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
	size, ok := parsePageSize(data)
	if !ok {
		return 0, false, fmt.Errorf("%s: no page size among %d bytes", f.Path(name), len(data))
	}
	return size / 1024, true, nil
}

// parsePageSize finds AT_PAGESZ in a 64-bit auxiliary vector of either byte
// order and returns bytes.
func parsePageSize(auxv []byte) (bytes uint64, ok bool) {
	for ; len(auxv) >= 16; auxv = auxv[16:] {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			size := order.Uint64(auxv[8:])
			if order.Uint64(auxv) == atPageSize && size >= 4<<10 && size <= 256<<10 {
				return size, true
			}
		}
	}
	return 0, false
}
