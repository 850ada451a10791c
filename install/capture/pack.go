package capture

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Pack writes the capture as a tar archive: regular files, directories that are empty, and symbolic links that lead no
// further than to a name beside them.
func (c *Capture) Pack(w io.Writer) error {
	archive := tar.NewWriter(w)
	parents := map[string]bool{}
	for name := range c.files {
		for dir := path.Dir(name); dir != "." && !parents[dir]; dir = path.Dir(dir) {
			parents[dir] = true
		}
	}
	names := slices.SortedFunc(maps.Keys(c.files), func(a, b string) int {
		if a == About || b == About {
			return cmp.Compare(len(strings.TrimPrefix(a, About)), len(strings.TrimPrefix(b, About)))
		}
		return cmp.Compare(a, b)
	})
	for _, name := range names {
		if parents[name] {
			continue // a directory in any case
		}
		f := c.files[name]
		header := tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		switch {
		case f.dir:
			header.Name, header.Mode, header.Typeflag = name+"/", 0o755, tar.TypeDir
		case f.link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		case !f.changed.IsZero():
			header.ModTime, header.Format = f.changed, tar.FormatPAX // to the nanosecond
		}
		if err := archive.WriteHeader(&header); err != nil {
			return err
		}
		if _, err := archive.Write(f.data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// Create writes the capture to a new file that only its owner can read, compressed where the name ends in .gz or .tgz.
// With force it takes the place of a file that is there; without, that is [fs.ErrExist]. After an error, such as that
// the context is done before the file is, nothing has changed.
func (c *Capture) Create(ctx context.Context, name string, force bool) error {
	file, err := create(name, force)
	if err != nil {
		return err
	}
	err = errors.Join(c.pack(writer{ctx, file}, name), file.Close())
	if err == nil && force {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		os.Remove(file.Name())
	}
	return err
}

// create makes the file that is to be written; with force it has another name until it is complete.
func create(name string, force bool) (*os.File, error) {
	if force {
		return os.CreateTemp(filepath.Dir(name), ".hugeguard-capture-*")
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// writer writes until the context is done.
type writer struct {
	ctx context.Context
	io.Writer
}

func (w writer) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (c *Capture) pack(w io.Writer, name string) error {
	if ext := filepath.Ext(name); ext != ".gz" && ext != ".tgz" {
		return c.Pack(w)
	}
	zip := gzip.NewWriter(w)
	return errors.Join(c.Pack(zip), zip.Close())
}

// Exists returns an error where there is a file that [Capture.Create] would not replace.
func Exists(name string) error {
	if _, err := os.Lstat(name); err == nil {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	return nil
}
