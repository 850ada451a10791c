package capture

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
)

// Bounds of an archive that is read. It may come from anybody.
const (
	maxUnpacked = 256 << 20 // bytes
	maxEntries  = 200_000
	maxElement  = 255 // bytes of an element of a name
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
	dir, err = os.MkdirTemp("", "hugeguard-capture-*")
	if err != nil {
		return "", err
	}
	u := unpacker{dir: dir, made: map[string]bool{".": true}, room: maxUnpacked}
	err = u.all(reader{ctx, in})
	if err != nil {
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
	u.entries++
	if u.entries > maxEntries {
		return errLarge
	}
	return nil
}

func (u *unpacker) all(packed io.Reader) error {
	in, err := decompressed(packed)
	if err != nil {
		return err
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
			return fmt.Errorf("not a capture: %w", err)
		}
		u.room -= h.Size
		if h.Size < 0 || u.room < 0 {
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

// decompressed reads what gzip may have compressed.
func decompressed(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(in)
	magic, err := buffered.Peek(2)
	if err == nil && string(magic) == "\x1f\x8b" {
		return gzip.NewReader(buffered)
	}
	return buffered, nil
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
			return errors.New("not a name that a capture can have")
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
		return unpackFile(at, h.ModTime, data)
	case tar.TypeSymlink:
		if !plain(h.Linkname) {
			return errors.New("a link that leads out of the capture")
		}
		return os.Symlink(h.Linkname, at)
	}
	return errors.New("neither a file, a directory nor a symbolic link")
}

// unpackFile makes a file that was last modified then, if that is known.
func unpackFile(name string, changed time.Time, data io.Reader) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, data)
	err = errors.Join(err, file.Close())
	if err != nil || changed.IsZero() {
		return err
	}
	return os.Chtimes(name, changed, changed)
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
