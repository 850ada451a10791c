package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// fragment gives back the second half of every 2 MiB of a file in memory, so that the memory that is free then is in
// pieces that are too small for a huge page of that size.
func fragment(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	const page = 2 << 20
	for at := int64(page / 2); at+page/2 <= info.Size(); at += page {
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, page/2); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}
