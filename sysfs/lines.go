package sysfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// lineLimit is more than a line of a file has that is read line by line, in bytes: the path of a mapped file is most of
// it.
const lineLimit = 64 << 10

// recordedLimit is how much is recorded of these files, in bytes: more than 65,530 mappings have in smaps, the most by
// default (vm.max_map_count). Of a longer file the recorder is told that it is.
const recordedLimit = 64 << 20

// parseLines reads the lines of /name one by one with parse, so that it takes no more memory than a line and what parse
// keeps of it. Errors of reading are *fs.PathError.
func parseLines[T any](f FS, name string, parse func(io.Reader) (T, error)) (all T, err error) {
	var none T
	path := f.Path(name)
	fd, err := f.open(name)
	if err != nil {
		f.record(name, Entry{File: true}, err)
		return none, err
	}
	defer syscall.Close(fd)
	var in io.Reader = openFile{fd, path}
	if f.recorder != nil {
		in, err = f.recordLines(name, in)
		if err != nil {
			return none, err
		}
	}
	all, err = parse(in)
	if err == nil {
		return all, nil
	}
	var reading *fs.PathError
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		err = &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	case !errors.As(err, &reading):
		err = fmt.Errorf("%s: %w", path, err)
	}
	return none, err
}

// recordLines records what a file holds, or the beginning of a long one, and returns a reader of the whole.
func (f FS) recordLines(name string, in io.Reader) (io.Reader, error) {
	text, err := io.ReadAll(io.LimitReader(in, recordedLimit+1))
	e := Entry{Data: text, File: true, Cut: len(text) > recordedLimit}
	if e.Cut {
		e.Data = text[:bytes.LastIndexByte(text[:recordedLimit], '\n')+1]
	}
	f.record(name, e, err)
	return io.MultiReader(bytes.NewReader(text), in), err
}

// newScanner yields the lines of a file.
func newScanner(in io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, min(os.Getpagesize(), lineLimit)), lineLimit) // the kernel gives no more at once
	return s
}

// openFile reads an open file as [FS.ReadStart] does.
type openFile struct {
	fd   int
	path string
}

func (o openFile) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return syscall.Read(o.fd, p) })
	if err != nil {
		return 0, &fs.PathError{Op: "read", Path: o.path, Err: err}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
