package vm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed rootfs customize.sh
var common embed.FS

// A Recipe says what an image is made from.
type Recipe struct {
	Name     string // of the tier
	Suite    Suite
	Packages []string // beside what these need
	// Files are the tier's own, beside those that all images have: rootfs/etc, which is copied into the root file system,
	// and the scripts.
	Files fs.FS
	// Before and After are scripts that are run before the files are copied in and when all else is done, "" for none.
	// Their argument is the root file system.
	Before, After string
	Size          string // of the root file system; what is not used takes no room
}

// An Image is a root file system with its kernel, in the cache.
type Image struct {
	Dir      string
	versions map[string]string // of all packages in it
	lock     *os.File          // keeps others from removing it
}

// Open returns the image in a directory. Somebody else has to keep others from removing it.
func Open(dir string) (*Image, error) {
	list, err := os.ReadFile(filepath.Join(dir, "packages"))
	if err != nil {
		return nil, err
	}
	img := &Image{Dir: dir, versions: map[string]string{}}
	for _, line := range strings.Split(strings.TrimSpace(string(list)), "\n") {
		name, version, _ := strings.Cut(line, " ")
		img.versions[name] = version
	}
	return img, nil
}

// Disk is the root file system.
func (i *Image) Disk() string { return filepath.Join(i.Dir, "root.img") }

// Version returns a package's version in the image.
func (i *Image) Version(pkg string) string { return cmp.Or(i.versions[pkg], "?") }

// Versions names the programs that matter to a guest's start.
func (i *Image) Versions() string {
	return fmt.Sprintf("kernel %s, libvirt %s, QEMU %s, Open vSwitch %s", i.Version(Kernel), i.Version(Libvirt), i.Version(QEMU), i.Version(OVS))
}

// Close lets others replace the image in the cache.
func (i *Image) Close() error { return i.lock.Close() }

// Image returns the image that a recipe makes, from the cache, or builds it.
func (r Recipe) Image(ctx context.Context) (*Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "hugeguard")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	hash, err := r.hash()
	if err != nil {
		return nil, err
	}
	prefix := r.Name + "-" + r.Suite.Name + "-"
	dir := filepath.Join(cache, prefix+hash)
	lock, err := lockFile(ctx, filepath.Join(cache, prefix+"lock"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		// Nobody else can be using an older one: they would have the lock.
		old, _ := filepath.Glob(filepath.Join(cache, prefix+"*[0-9a-f]"))
		for _, name := range old {
			os.RemoveAll(name)
		}
		if err := r.build(ctx, dir); err != nil {
			return nil, err
		}
	} else {
		Say("root file system from the cache: %s", dir)
	}
	// From here on several runs may share it.
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH); err != nil {
		return nil, err
	}
	img, err := Open(dir)
	if err != nil {
		return nil, err
	}
	img.lock = lock
	return img, nil
}

// lockFile waits until it is the only one to have the file.
func lockFile(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if !said {
			Say("waiting for another run that has %s", name)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), f.Close())
		case <-time.After(time.Second):
		}
	}
}

// files are the recipe's, the common ones and its own, by name.
func (r Recipe) files() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, from := range []fs.FS{common, r.Files} {
		err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files[name], err = fs.ReadFile(from, name)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// hash names all that an image is made from, but for the day.
func (r Recipe) hash() (string, error) {
	files, err := r.files()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, r.Suite.Name, r.Size, r.Packages)
	// Directory by directory.
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	for _, name := range names {
		fmt.Fprintf(h, "%s %d\n%s", name, len(files[name]), files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// build builds the image with mmdebstrap, beside its place, and moves it there when it is whole.
func (r Recipe) build(ctx context.Context, dir string) error {
	sources, err := aptSources(ctx, r.Suite)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), ".building-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	files, err := r.files()
	if err != nil {
		return err
	}
	recipe := filepath.Join(work, "recipe")
	for name, data := range files {
		mode := fs.FileMode(0o644)
		if filepath.Ext(name) == ".sh" {
			mode = 0o755
		}
		name = filepath.Join(recipe, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, mode)); err != nil {
			return err
		}
	}
	root, out := filepath.Join(work, "root"), filepath.Join(work, "image")
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	Say("building the root file system of Debian %s: %d packages and what they need", r.Suite.Name, len(r.Packages))
	// The cleanup would empty /etc/machine-id after the scripts, and take away the label that one of them gave it.
	args := []string{"--variant=minbase", "--mode=root", "--format=directory", "--skip=cleanup/reproducible", "--include=" + strings.Join(r.Packages, ","),
		`--aptopt=Acquire::Check-Valid-Until "false"`}
	run := func(script string) {
		if script != "" {
			args = append(args, "--customize-hook="+filepath.Join(recipe, script)+` "$1"`)
		}
	}
	run(r.Before)
	args = append(args, "--customize-hook=copy-in "+filepath.Join(recipe, "rootfs/etc")+" /")
	run("customize.sh")
	run(r.After)
	if pins := r.Suite.pins(); pins != "" {
		file := filepath.Join(work, "backports")
		if err := os.WriteFile(file, []byte(pins), 0o644); err != nil {
			return err
		}
		const preferences = "/etc/apt/preferences.d"
		args = append(args, `--setup-hook=mkdir -p "$1"`+preferences, "--setup-hook=copy-in "+file+" "+preferences)
	}
	if err := Step(ctx, sources, "mmdebstrap", append(args, r.Suite.Release, root, "-")...); err != nil {
		return err
	}
	list, err := exec.CommandContext(ctx, "dpkg-query", "--admindir="+filepath.Join(root, "var/lib/dpkg"), "-W", "-f", "${Package} ${Version}\n").Output()
	if err != nil {
		return fmt.Errorf("dpkg-query: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, "packages"), list, 0o644); err != nil {
		return err
	}
	for _, name := range []string{"vmlinuz", "initrd.img"} {
		found, _ := filepath.Glob(filepath.Join(root, "boot", name+"-*"))
		if len(found) != 1 {
			return fmt.Errorf("the root file system should have one /boot/%s-*, and has %q", name, found)
		}
		if err := os.Rename(found[0], filepath.Join(out, name)); err != nil {
			return err
		}
	}
	if err := Disk(ctx, root, filepath.Join(out, "root.img"), r.Size); err != nil {
		return err
	}
	return os.Rename(out, dir)
}

// Disk makes a file system of that size from a directory.
func Disk(ctx context.Context, dir, file, size string) error {
	return Step(ctx, "", "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", dir, file, size)
}

// aptSources returns the lines for mmdebstrap: this machine's own sources of Debian, told for that release.
func aptSources(ctx context.Context, suite Suite) (string, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	var here string
	for _, line := range strings.Split(string(release), "\n") {
		if value, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			here = strings.Trim(value, `"`)
		}
	}
	targets, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)", "Created-By: Packages").Output()
	if err != nil {
		return "", fmt.Errorf("apt-get indextargets: %w", err)
	}
	kinds := suite.archives()
	var lines []string
	for _, line := range strings.Split(string(targets), "\n") {
		words := strings.Fields(line)
		if len(words) < 3 || words[2] != "main" || len(words) > 3 && words[3] != "Debian" {
			continue
		}
		if kind, ok := strings.CutPrefix(words[1], here); ok && slices.Contains(kinds, kind) {
			lines = append(lines, fmt.Sprintf("deb [signed-by=%s] %s %s main\n", keyring, words[0], suite.Release+kind))
			if kind == "" && suite.backports != nil {
				lines = append(lines, fmt.Sprintf("deb [signed-by=%s] %s %s-backports main\n", keyring, words[0], suite.Release))
			}
		}
	}
	if lines == nil {
		return "", errors.New("this machine's apt knows no source of Debian's packages")
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), ""), nil
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// Step runs a program of the building, in a mount namespace of its own, so that nothing stays mounted however
// it ends. What it says is shown when it fails.
func Step(ctx context.Context, stdin, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, text[max(0, len(text)-4000):])
	}
	return nil
}
