package sysfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReadOf: what is no regular file, or another's, is not opened.
func TestReadOf(t *testing.T) {
	dir := t.TempDir()
	live, captured := New(""), New(dir)
	name := func(n string) string { return strings.TrimPrefix(filepath.Join(dir, n), "/") }
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := end.WriteString("for somebody else"); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []struct {
		FS
		name func(string) string
	}{{live, name}, {captured, func(n string) string { return n }}} {
		if text, _, err := tree.ReadOf("", tree.name("file"), 4, os.Getuid()); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		if _, _, err := tree.ReadOf("", tree.name("file"), 3); !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		for _, n := range []string{"fifo", "."} {
			if text, _, err := tree.ReadOf("", tree.name(n), 100); !errors.Is(err, errNotRegular) {
				t.Errorf("%s: %q, %v", n, text, err)
			}
		}
		if _, _, err := tree.ReadOf("", tree.name("gone"), 100); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if _, _, err := live.ReadOf("", "dev/zero", 100); !errors.Is(err, errNotRegular) {
		t.Error(err)
	}
	left := make([]byte, 100)
	if n, err := end.Read(left); string(left[:n]) != "for somebody else" {
		t.Errorf("the FIFO has %q left, %v", left[:n], err)
	}
	if os.Getuid() != 0 {
		return // who else could own a file
	}
	if err := os.Chown(filepath.Join(dir, "file"), 65534, 0); err != nil {
		t.Fatal(err)
	}
	if text, _, err := live.ReadOf("", name("file"), 4, 0, 7); !errors.Is(err, errForeign) {
		t.Errorf("%q, %v", text, err)
	}
	for _, owners := range [][]int{nil, {0, 65534}} {
		if text, _, err := live.ReadOf("", name("file"), 4, owners...); err != nil || string(text) != "text" {
			t.Errorf("%v: %q, %v", owners, text, err)
		}
	}
}

// opened returns what says whether a file was opened since, but with O_PATH.
func opened(t *testing.T, name string) func() bool {
	t.Helper()
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(watch) })
	if _, err := unix.InotifyAddWatch(watch, name, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		_, err := unix.Read(watch, make([]byte, 1024))
		return err != unix.EAGAIN
	}
}

// TestOtherRoot: what another root names is looked for inside it, also by links and by their way up.
func TestOtherRoot(t *testing.T) {
	dir := t.TempDir()
	base := strings.TrimPrefix(dir, "/") + "/root"
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	secret := write("secret", "the host's")
	write("root/etc/real", "inside")
	write("root/etc/d/one.conf", "")
	for name, target := range map[string]string{
		"away": secret, "up": "../../../../../../../../../.." + secret, "inside": "/etc/real", "beside": "real",
		"dir": "/etc/d", "dir-away": dir, "magic": "/proc/self/exe",
	} {
		if err := os.Symlink(target, filepath.Join(dir, "root/etc", name)); err != nil {
			t.Fatal(err)
		}
	}
	outside := opened(t, secret)
	for _, tree := range []struct {
		FS
		base string
	}{{New(""), base}, {New(dir), "root"}} {
		for _, name := range []string{"/etc/away", "/etc/up", "/etc/dir-away/secret", "../secret", "/etc/magic"} {
			if text, _, err := tree.ReadOf(tree.base, name, 100); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
		for _, name := range []string{"/etc/inside", "etc/beside", "/etc/../etc/real"} {
			if text, changed, err := tree.ReadOf(tree.base, name, 100); err != nil || string(text) != "inside" || changed.IsZero() {
				t.Errorf("%s: %q, %v, %v", name, text, changed, err)
			}
		}
		if names, _, err := tree.ReadDirOf(tree.base, "/etc/dir", 9, time.Now().Add(time.Hour)); err != nil || len(names) != 1 {
			t.Errorf("%q, %v", names, err)
		}
		if names, _, err := tree.ReadDirOf(tree.base, "/etc/dir-away", 9, time.Now().Add(time.Hour)); err == nil {
			t.Errorf("%q", names)
		}
	}
	if outside() {
		t.Error("a file outside was opened")
	}
}

// TestOtherRootOfOldKernel: without the system call that stays inside a root, nothing is
// read there, unless it is this program's own.
func TestOtherRootOfOldKernel(t *testing.T) {
	defer func() { openat2 = unix.Openat2 }()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, errno := range []error{syscall.ENOSYS, syscall.EPERM} {
		openat2 = func(int, string, *unix.OpenHow) (int, error) { return -1, errno }
		live := New("")
		if text, _, err := live.ReadOf(dir[1:], "/file", 100); !errors.Is(err, errInside) {
			t.Errorf("%q, %v", text, err)
		}
		if text, _, err := live.ReadOf("proc/self/root", dir+"/file", 100); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
		if text, _, err := New(filepath.Dir(dir)).ReadOf(filepath.Base(dir), "/file", 100); err != nil || string(text) != "text" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// TestKernelsFiles: what is the kernel's own is regular and root's, and is not opened.
func TestKernelsFiles(t *testing.T) {
	for _, name := range []string{"/proc/version", "/proc/kmsg"} {
		if text, _, err := New("").ReadOf("", name, 1<<10); !errors.Is(err, errKernels) && !errors.Is(err, errNotRegular) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if text, _, err := New("").ReadOf("proc/self/root", name, 1<<10); err == nil {
			t.Errorf("%s: %q", name, text)
		}
		if text, err := New("").ReadStartOfRoots(name, 1<<10); err == nil {
			t.Errorf("%s: %q", name, text)
		}
	}
	if names, _, err := New("").ReadDirOf("", "/proc/self", 1<<20, time.Now().Add(time.Hour)); !errors.Is(err, errKernels) {
		t.Errorf("%q, %v", names, err)
	}
}

// TestChanged: what replaces a file may be older than what it replaces, and what is removed is no more there.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1_000_000_000, 0)
	for _, name := range []string{file, dir} {
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, changed, err := New("").ReadOf("", file, 100); err != nil || !changed.After(old) {
		t.Errorf("changed at %v, %v", changed, err)
	}
	if _, changed, err := New(dir).ReadOf("", "file", 100); err != nil || !changed.Equal(old) {
		t.Errorf("captured as changed at %v, %v", changed, err)
	}
	later := time.Now().Add(time.Hour)
	if _, changed, err := New("").ReadDirOf("", dir, 9, later); err != nil || !changed.Equal(old) {
		t.Errorf("the directory changed at %v, %v", changed, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, changed, err := New("").ReadDirOf("", dir, 9, later); err != nil || !changed.After(old) {
		t.Errorf("the directory changed at %v, %v after a file was removed", changed, err)
	}
}

// TestReadDirOf: a directory may have no more than its reader takes, and must be whose it is to be.
func TestReadDirOf(t *testing.T) {
	dir := t.TempDir()
	for i := range 600 {
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", i/100+1)+string(rune('a'+i%100))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const later = time.Hour
	for _, test := range []struct {
		most     int
		patience time.Duration
		want     error
	}{{600, later, nil}, {599, later, ErrCut}, {1, later, ErrCut}, {600, -later, ErrCut}} {
		for _, tree := range []struct {
			FS
			name string
		}{{New(""), dir}, {New(dir), "/"}} {
			names, _, err := tree.ReadDirOf("", tree.name, test.most, time.Now().Add(test.patience))
			if !errors.Is(err, test.want) || err == nil && len(names) != 600 || err != nil && names != nil {
				t.Errorf("%+v: %d names, %v", test, len(names), err)
			}
		}
	}
	if os.Getuid() != 0 {
		return // who else could own it
	}
	if err := os.Chown(dir, 65534, 0); err != nil {
		t.Fatal(err)
	}
	asked := opened(t, dir)
	if names, _, err := New("").ReadDirOf("", dir, 600, time.Now().Add(later), 0, 7); !errors.Is(err, errForeign) || asked() {
		t.Errorf("%d names, %v", len(names), err)
	}
	if names, _, err := New("").ReadDirOf("", dir, 600, time.Now().Add(later), 65534); len(names) != 600 || err != nil {
		t.Errorf("%d names, %v", len(names), err)
	}
}

// TestReadStartOfRoots: only a regular file of root's is opened, and no link to one.
func TestReadStartOfRoots(t *testing.T) {
	dir, root := t.TempDir(), os.Getuid() == 0
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, make := range map[string]func() error{
		"file": func() error { return os.WriteFile(at("file"), []byte("text"), 0o600) },
		"fifo": func() error { return syscall.Mkfifo(at("fifo"), 0o600) },
		"link": func() error { return os.Symlink("file", at("link")) },
		"null": func() error { return os.Symlink("/dev/null", at("null")) },
		"others": func() error {
			err := os.WriteFile(at("others"), nil, 0o600)
			if root { // for any other user they are foreign as they are
				err = errors.Join(err, os.Chown(at("others"), 7, 0))
			}
			return err
		},
		"open": func() error { return errors.Join(os.WriteFile(at("open"), nil, 0o600), os.Chmod(at("open"), 0o620)) },
	} {
		if err := make(); err != nil {
			t.Fatal(name, err)
		}
	}
	file, open := error(nil), errWritable
	if !root {
		file, open = errForeign, errForeign
	}
	for _, test := range []struct {
		name, target string
		want         error
	}{
		{"fifo", at("fifo"), errNotRegular}, {"link", at("file"), errNotRegular}, {"null", "/dev/null", errNotRegular},
		{"others", at("others"), errForeign}, {"open", at("open"), open}, {".", dir, errNotRegular},
	} {
		seen := opened(t, test.target)
		if text, err := New("").ReadStartOfRoots(at(test.name), 3); !errors.Is(err, test.want) {
			t.Errorf("%s: %q, %v", test.name, text, err)
		}
		if test.target != "/dev/null" && test.want != errWritable && seen() { // others open the former meanwhile
			t.Errorf("%s was opened", test.name)
		}
	}
	if text, err := New("").ReadStartOfRoots(at("file"), 3); !errors.Is(err, file) || err == nil && string(text) != "tex" {
		t.Errorf("%q, %v; want %v", text, err, file)
	}
}
