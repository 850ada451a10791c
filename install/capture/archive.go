package capture

import (
	"archive/tar"
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
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

// Bounds of an archive that is read. It may come from anybody.
const (
	maxUnpacked = 256 << 20 // bytes
	maxEntries  = 200_000
	maxName     = 4096
	maxElement  = 255
	maxDepth    = 32 // elements of a name
)

// Unpack unpacks an archive, which gzip may have compressed, into a new directory that nobody else can read. What is
// none of a capture's, such as a name or a link that leads out of it, is an error, and so is that the context is done.
// The caller has to remove the directory; after an error there is none.
func Unpack(ctx context.Context, name string) (dir string, err error) {
	in, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	if dir, err = os.MkdirTemp("", "hugeguard-capture-*"); err != nil {
		return "", err
	}
	u := unpacker{dir: dir, made: map[string]bool{".": true}, room: maxUnpacked}
	if err = u.all(reader{ctx, in}); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w", name, err), os.RemoveAll(dir))
	}
	return dir, nil
}

// reader reads until the context is done.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// unpacker unpacks one archive.
type unpacker struct {
	dir     string
	made    map[string]bool // directories below it
	entries int             // of the archive, and directories that were made
	room    int64           // bytes that its files may still have
}

var errLarge = fmt.Errorf("larger than a capture can be: more than %d entries or %d MiB", maxEntries, maxUnpacked>>20)

// count counts one entry more.
func (u *unpacker) count() error {
	if u.entries++; u.entries > maxEntries {
		return errLarge
	}
	return nil
}

func (u *unpacker) all(packed io.Reader) error {
	buffered := bufio.NewReader(packed)
	in := io.Reader(buffered)
	if magic, err := buffered.Peek(2); err == nil && string(magic) == "\x1f\x8b" {
		if in, err = gzip.NewReader(buffered); err != nil {
			return err
		}
	}
	// The archive itself has a block for each entry, and names besides.
	archive := tar.NewReader(&io.LimitedReader{R: in, N: 2 * maxUnpacked})
	for {
		h, err := archive.Next()
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err == io.EOF && u.entries > 0 {
			return nil
		}
		if err == io.EOF {
			err = errors.New("it is empty")
		}
		if err != nil {
			return fmt.Errorf("no capture: %w", err)
		}
		if u.room -= h.Size; h.Size < 0 || u.room < 0 {
			return errLarge
		}
		if err := u.count(); err != nil {
			return err
		}
		if err := u.place(h, archive); err != nil {
			return fmt.Errorf("%s: %w", guard.Printable(h.Name, 200), err)
		}
	}
}

// place unpacks one entry.
func (u *unpacker) place(h *tar.Header, data io.Reader) error {
	name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
	if name == "" || name == "." {
		return nil // the directory that was packed
	}
	if len(name) > maxName || strings.Count(name, "/") >= maxDepth {
		return errors.New("the name is too long")
	}
	for _, element := range strings.Split(name, "/") {
		if !plain(element) {
			return errors.New("no name that a capture has")
		}
	}
	if h.Typeflag == tar.TypeDir {
		return u.directory(name)
	}
	if err := u.directory(path.Dir(name)); err != nil {
		return err
	}
	at := filepath.Join(u.dir, name)
	switch h.Typeflag {
	case tar.TypeReg:
		file, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, data)
		if err = errors.Join(err, file.Close()); err == nil && !h.ModTime.IsZero() {
			err = os.Chtimes(at, h.ModTime, h.ModTime)
		}
		return err
	case tar.TypeSymlink:
		if !plain(h.Linkname) {
			return errors.New("a link that leads elsewhere")
		}
		return os.Symlink(h.Linkname, at)
	}
	return errors.New("neither a file, a directory nor a symbolic link")
}

// directory makes a directory, and those above it, that is not made yet. No link takes the place of one.
func (u *unpacker) directory(name string) error {
	if u.made[name] {
		return nil
	}
	if err := u.directory(path.Dir(name)); err != nil {
		return err
	}
	if err := u.count(); err != nil {
		return err
	}
	u.made[name] = true
	return os.Mkdir(filepath.Join(u.dir, name), 0o700)
}

// plain reports whether a name is that of something in the same directory.
func plain(element string) bool {
	return element != "" && element != "." && element != ".." && len(element) <= maxElement && !strings.ContainsAny(element, "/\x00")
}

// Create writes the capture to a new file that only its owner can read, compressed where the name ends in .gz or .tgz.
// With force it takes the place of a file that is there; without, that is [fs.ErrExist]. After an error, such as that
// the context is done before the file is, nothing has changed.
func (c *Capture) Create(ctx context.Context, name string, force bool) (err error) {
	temporary := name
	var file *os.File
	if force {
		if file, err = os.CreateTemp(filepath.Dir(name), ".hugeguard-capture-*"); err == nil {
			temporary = file.Name()
		}
	} else {
		file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	if err = errors.Join(c.pack(writer{ctx, file}, name), file.Close()); err == nil && force {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
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
