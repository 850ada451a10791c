package place

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hugeguard/guard"
	"hugeguard/install/installtest"
	"hugeguard/sysfs/sysfstest"
)

// programs returns two versions of the hook program, which cannot be run.
func programs(t *testing.T) (v1, v2 string) {
	t.Helper()
	return filepath.Join(testDir, "v1"), filepath.Join(testDir, "v2")
}

// built returns a hook program that can be run, built once.
func built(t *testing.T) string {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

var (
	testDir string
	build   = sync.OnceValues(func() (string, error) {
		program, _, _, err := installtest.Programs(filepath.Join(testDir, "built"))
		return program, err
	})
)

func TestMain(m *testing.M) {
	// No test depends on how fast the machine is: none of these is to pass unless a test sets another.
	for _, limit := range []*time.Duration{&tellTimeout, &lastCalls, &lastHooks} {
		*limit = time.Hour
	}
	os.Exit(sysfstest.InMemory(func() int { return inTestDir(m.Run) }))
}

func inTestDir(run func() int) int {
	dir, err := os.MkdirTemp("", "hugeguard-place-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	testDir = dir
	for _, version := range []string{"v1", "v2"} {
		if err := os.WriteFile(filepath.Join(dir, version), installtest.Hook(version), 0o755); err != nil {
			panic(err)
		}
	}
	return run()
}

// The hook program of the tests is known as those are that Go builds.
func TestProgram(t *testing.T) {
	v1, v2 := programs(t)
	for _, name := range []string{v1, v2, built(t)} {
		if p, err := readProgram(name); err != nil || p.runsHere() != nil {
			t.Errorf("%v, %v", err, p.runsHere())
		}
		if ours, err := isOurs(name); err != nil || !ours {
			t.Errorf("%s is ours: %v, %v", name, ours, err)
		}
	}
}

// sites are hosts before any install.
var sites = map[string]map[string]string{
	"empty":            {},
	"no hook":          {"/etc/libvirt/hooks/network": "#!/bin/sh\n"},
	"hook, libvirt 9":  {"/etc/libvirt/hooks/qemu": siteText, "/usr/lib64/libvirt.so.0.9000.0": ""},
	"hook, libvirt 6":  {"/etc/libvirt/hooks/qemu": siteText, "/usr/lib64/libvirt.so.0.6000.0": ""},
	"hook and drop-in": {"/etc/libvirt/hooks/qemu": siteText, "/etc/libvirt/hooks/qemu.d/10-site": "#!/bin/sh\n"},
	"drop-in alone":    {"/etc/libvirt/hooks/qemu.d/10-site": "#!/bin/sh\n", "/usr/lib64/libvirt.so.0.9000.0": ""},
}

const siteText = "#!/bin/sh\n# the site's own hook\n"

// makeSite makes a site's tree, its hooks executable.
func makeSite(t *testing.T, files map[string]string) tree {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(root+"/var/lib", 0o755); err != nil {
		t.Fatal(err)
	}
	proc := "/" // where processes really run
	for name, text := range files {
		if strings.HasPrefix(name, "/proc/") {
			proc = "" // where the test has them
		}
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return tree{root: root, proc: proc}
}

func list(t *testing.T, tr tree) string {
	t.Helper()
	s, err := installtest.List(tr.root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// calls says what libvirt runs at a qemu event: how often the guard, how often the site's hook. It is written from
// libvirt's documentation (hooks.rst) and the hook program's contract, not from the code that is tested.
func calls(t *testing.T, tr tree) (guard, site int) {
	t.Helper()
	var run func(name string)
	run = func(name string) {
		fi, err := os.Stat(name)
		if err != nil || fi.Mode()&0o111 == 0 || fi.IsDir() {
			return
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		head := make([]byte, 64)
		n, _ := io.ReadFull(f, head)
		switch head := string(head[:n]); {
		case head == siteText:
			site++
		case strings.HasPrefix(head, "\x7fELF"):
			guard++
			run(name + ".site")
		}
	}
	run(tr.root + "/etc/libvirt/hooks/qemu")
	entries, _ := os.ReadDir(tr.root + "/etc/libvirt/hooks/qemu.d")
	for _, e := range entries {
		run(tr.root + "/etc/libvirt/hooks/qemu.d/" + e.Name())
	}
	return guard, site
}

// plan returns what an install would do.
func plan(t *testing.T, tr tree, want Layout, prog *program) ([]step, error) {
	t.Helper()
	j := &job{Options: Options{Root: tr.root, Out: io.Discard}, tree: tr}
	s, err := j.scene()
	if err != nil {
		t.Fatal(err)
	}
	layout, err := s.choose(want)
	if err != nil {
		return nil, err
	}
	rec := &record{Layout: layout}
	if s.record != nil {
		rec.Created = s.record.Created
	}
	return j.planInstall(context.Background(), s, layout, prog, rec)
}

// An install or an uninstall that is cut short after any step leaves the site's hook called exactly once and a guard
// that was there called; and what is done next ends as if nothing had happened.
func TestInterrupted(t *testing.T) {
	for name, files := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tried := 0
			for _, from := range []Layout{Main, DropIn, Chain, olderDropIn} {
				for _, to := range []Layout{Auto, Main, DropIn, Chain} {
					tried += interrupt(t, files, from, to)
				}
			}
			if tried < 6 {
				t.Errorf("only %d cases were tried", tried)
			}
		})
	}
}

// olderDropIn is the layout DropIn as older versions have it, under another name.
const olderDropIn Layout = "older drop-in"

// first installs into a site in a layout, for which it may not be made.
func first(tr tree, layout Layout, hook string) error {
	o := Options{Root: tr.root, Layout: layout, Hook: hook, Out: io.Discard}
	if layout != olderDropIn {
		return Install(context.Background(), o)
	}
	o.Layout = DropIn
	if err := Install(context.Background(), o); err != nil {
		return err
	}
	return os.Rename(tr.root+dropInHook, tr.root+oldDropIn)
}

// interrupt cuts the way between two layouts short after each of its steps, and returns how many cases that made: none
// where the site does not allow one of the layouts.
func interrupt(t *testing.T, files map[string]string, from, to Layout) (tried int) {
	v1, v2 := programs(t)
	next, err := readProgram(v2)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	hooks := 0 // how often the site's hook is to be called
	if files["/etc/libvirt/hooks/qemu"] == siteText {
		hooks = 1
	}
	for cut := 0; ; cut++ {
		for _, then := range []string{"install", "uninstall"} {
			tr := makeSite(t, files)
			pristine := list(t, tr)
			if err := first(tr, from, v1); err != nil {
				return tried
			}
			steps, err := plan(t, tr, to, next)
			if err != nil || cut > len(steps) {
				return tried
			}
			tried++
			what := fmt.Sprintf("from %q to %q, %d of %d steps, then %s", from, to, cut, len(steps), then)
			check := func(after string, most int) {
				t.Helper()
				if guard, site := calls(t, tr); guard < 1 || guard > most || site != hooks {
					t.Fatalf("%s: after %s the guard is called %d times and the site's hook %d times\n%s", what, after, guard, site, list(t, tr))
				}
			}
			check("the first install", 1)
			for _, s := range steps[:cut] {
				if err := s.do(); err != nil {
					t.Fatalf("%s: %s: %v", what, s.says, err)
				}
				check(s.says, 2)
			}
			// A file that was being written.
			if err := os.WriteFile(filepath.Join(tr.root, HookDir, tempName), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			if then == "install" {
				if err := Install(ctx, Options{Root: tr.root, Layout: to, Hook: v2, Out: io.Discard}); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				check("the second install", 1)
				if steps, err := plan(t, tr, to, next); err != nil || len(steps) != 0 {
					t.Errorf("%s: there is still something to do: %v %v", what, steps, err)
				}
			}
			if err := Uninstall(ctx, Options{Root: tr.root, Out: io.Discard}); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if diff := cmp.Diff(pristine, list(t, tr)); diff != "" {
				t.Errorf("%s: the tree is not as it was:\n%s", what, diff)
			}
		}
	}
}

// The same for the first install, in which the guard comes at some moment and never goes.
func TestFirstInterrupted(t *testing.T) {
	v1, _ := programs(t)
	prog, err := readProgram(v1)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for name, files := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, to := range []Layout{Auto, DropIn, Chain} {
				for cut := 0; ; cut++ {
					tr := makeSite(t, files)
					pristine := list(t, tr)
					_, hooks := calls(t, tr)
					steps, err := plan(t, tr, to, prog)
					if err != nil || cut > len(steps) {
						break
					}
					what := fmt.Sprintf("to %q, %d of %d steps", to, cut, len(steps))
					for _, s := range steps[:cut] {
						if err := s.do(); err != nil {
							t.Fatalf("%s: %s: %v", what, s.says, err)
						}
						if _, site := calls(t, tr); site != hooks {
							t.Fatalf("%s: after %s the site's hook is called %d times", what, s.says, site)
						}
					}
					if err := Uninstall(ctx, Options{Root: tr.root, Out: io.Discard}); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					if diff := cmp.Diff(pristine, list(t, tr)); diff != "" {
						t.Errorf("%s: the tree is not as it was:\n%s", what, diff)
					}
					if err := Install(ctx, Options{Root: tr.root, Layout: to, Hook: v1, Out: io.Discard}); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					if guard, site := calls(t, tr); guard != 1 || site != hooks {
						t.Errorf("%s: in the end the guard is called %d times, the site's hook %d times", what, guard, site)
					}
				}
			}
		})
	}
}

// The same for an uninstall.
func TestUninstallInterrupted(t *testing.T) {
	v1, _ := programs(t)
	ctx := context.Background()
	for name, files := range sites {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, from := range []Layout{Main, DropIn, Chain, olderDropIn} {
				for cut := 0; ; cut++ {
					tr := makeSite(t, files)
					pristine := list(t, tr)
					_, wanted := calls(t, tr)
					if err := first(tr, from, v1); err != nil {
						break
					}
					j := &job{Options: Options{Out: io.Discard}, tree: tr}
					s, err := j.scene()
					if err != nil {
						t.Fatal(err)
					}
					hooks, rest, err := j.planUninstall(ctx, s)
					if err != nil {
						t.Fatal(err)
					}
					steps := slices.Concat(hooks, rest)
					if cut > len(steps) {
						break
					}
					what := fmt.Sprintf("from %q, %d of %d steps", from, cut, len(steps))
					for _, s := range steps[:cut] {
						if err := s.do(); err != nil {
							t.Fatalf("%s: %s: %v", what, s.says, err)
						}
						if _, site := calls(t, tr); site != wanted {
							t.Fatalf("%s: after %s the site's hook is called %d times", what, s.says, site)
						}
					}
					if cut%2 == 1 { // an admin who changes their mind can
						if err := first(tr, from, v1); err != nil {
							t.Fatalf("%s: %v", what, err)
						}
						if guard, site := calls(t, tr); guard != 1 || site != wanted {
							t.Errorf("%s: installed again, the guard is called %d times, the site's hook %d times", what, guard, site)
						}
					}
					if err := Uninstall(ctx, Options{Root: tr.root, Out: io.Discard}); err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					if diff := cmp.Diff(pristine, list(t, tr)); diff != "" {
						t.Errorf("%s: the tree is not as it was:\n%s", what, diff)
					}
				}
			}
		})
	}
}

// A hook that is being run while another version takes its place stays whole: the file is another.
func TestReplaceKeepsOpenFile(t *testing.T) {
	v1, v2 := programs(t)
	tr := makeSite(t, nil)
	install := func(hook string) {
		t.Helper()
		if err := Install(context.Background(), Options{Root: tr.root, Hook: hook, Out: io.Discard}); err != nil {
			t.Fatal(err)
		}
	}
	install(v1)
	f, err := os.Open(tr.root + mainHook)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	install(v2)
	got, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(v1)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("the file that was open has changed")
	}
}

// In qemu.d, of which libvirt runs each executable file, nothing is one but the whole hook under its own name.
func TestPlacedBeside(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "zz-hugeguard")
	for _, left := range []string{"nothing", "file", "directory"} { // of a run that was interrupted
		switch tmp := filepath.Join(dir, tempName); left {
		case "file":
			installtest.Write(t, tmp, "half")
		case "directory":
			installtest.Write(t, filepath.Join(tmp, tempName), "half")
		}
		watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(watch)
		if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
			t.Fatal(err)
		}
		if err := placeBeside(dst, []byte(left), 0o755, func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		events := make([]byte, 4096)
		n, err := unix.Read(watch, events)
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for events = events[:n]; len(events) > 0; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
			name := events[unix.SizeofInotifyEvent:][:e.Len]
			seen = append(seen, fmt.Sprintf("%s, directory: %v", bytes.TrimRight(name, "\x00"), e.Mask&unix.IN_ISDIR != 0))
			events = events[unix.SizeofInotifyEvent+e.Len:]
		}
		want := []string{tempName + ", directory: true", "zz-hugeguard, directory: false"}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Errorf("with %s left there appear\n%s", left, diff)
		}
		if text, err := os.ReadFile(dst); err != nil || string(text) != left {
			t.Errorf("placed is %q, %v", text, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("there are %v, %v", entries, err)
		}
	}
}

// Whatever hooks come and go, Auto makes of each layout the one in which the hook judges last, and that one it leaves
// alone.
func TestMovedToTheEnd(t *testing.T) {
	v1, _ := programs(t)
	for _, c := range []struct {
		from    Layout
		libvirt string
		hooks   []string // that the site has got since
		to      Layout
	}{
		{Main, "9000", nil, Main},
		{Main, "9000", []string{"qemu.d/x"}, DropIn},
		{Main, "6000", []string{"qemu.d/x"}, Main}, // which does not run it
		{Main, "", []string{"qemu.d/x"}, Main},     // which may not run it
		{Main, "9000", []string{"qemu"}, DropIn},
		{Main, "6000", []string{"qemu"}, Chain},
		{DropIn, "9000", nil, DropIn},
		{DropIn, "9000", []string{"qemu", "qemu.d/x"}, DropIn},
		{DropIn, "", nil, DropIn},
		{DropIn, "6000", []string{"qemu"}, Chain},
		{olderDropIn, "9000", nil, DropIn},
		{olderDropIn, "", []string{"qemu.d/x"}, DropIn},
		{olderDropIn, "6000", nil, Main},
	} {
		tr := makeSite(t, map[string]string{"/etc/libvirt/hooks/network": ""})
		if err := first(tr, c.from, v1); err != nil {
			t.Fatal(err)
		}
		for _, name := range c.hooks {
			if err := os.Remove(filepath.Join(tr.root, HookDir, name)); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			installtest.Write(t, filepath.Join(tr.root, HookDir, name), siteText)
			if err := os.Chmod(filepath.Join(tr.root, HookDir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if c.libvirt != "" {
			installtest.Write(t, tr.root+"/usr/lib64/libvirt.so.0."+c.libvirt+".0", "")
		}
		for range 2 {
			if err := Install(context.Background(), Options{Root: tr.root, Hook: v1, Out: io.Discard}); err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			s, err := tr.scene()
			if err != nil {
				t.Fatal(err)
			}
			if in := s.layouts(); len(in) != 1 || in[0] != c.to || s.oldDropIn.kind == ours {
				t.Errorf("%+v: it is %q\n%s", c, in, list(t, tr))
			}
		}
	}
}

// What others than root may change is said.
func TestWritable(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0o777, 0o775, 0o757} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if says := writable(dir); !strings.Contains(says, "root runs "+dir+", but others can change it: ") {
			t.Errorf("%v: %q", mode, says)
		}
	}
	if says := writable("/usr"); says != "" {
		t.Errorf("/usr: %s", says)
	}
	if says := writable(dir + "/none"); says != "" {
		t.Errorf("what is not there: %s", says)
	}
}

// A dispatcher that may make pages, by a script below qemu.d, is told from one that does something else.
func TestHooksThatMakePages(t *testing.T) {
	const script = "#!/bin/sh\necho 4096 >/proc/sys/vm/nr_hugepages\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []OtherHook
	}{
		"none":           {nil, nil},
		"itself":         {map[string]string{"qemu": script, "qemu.d/10-net": siteText}, []OtherHook{{"qemu", true}, {"qemu.d/10-net", false}}},
		"by a script":    {map[string]string{"qemu": siteText, "qemu.d/win10/prepare/begin/alloc.sh": script}, []OtherHook{{"qemu", true}}},
		"other scripts":  {map[string]string{"qemu": siteText, "qemu.d/win10/prepare/begin/x.sh": siteText}, []OtherHook{{"qemu", false}}},
		"another's":      {map[string]string{"qemu": siteText, "qemu.d/pages": script}, []OtherHook{{"qemu", false}, {"qemu.d/pages", true}}},
		"no dispatcher":  {map[string]string{"qemu.d/win10/prepare/begin/alloc.sh": script}, nil},
		"with no bottom": {map[string]string{"qemu": siteText, "qemu.d/a/b/c/d/e/f/g": "no pages"}, []OtherHook{{"qemu", false}}},
	} {
		files := map[string]string{}
		for file, text := range c.files {
			files["/etc/libvirt/hooks/"+file] = text
		}
		tr := makeSite(t, files)
		before, after, err := OtherHooks(tr.root)
		for i := range before {
			before[i].Path = strings.TrimPrefix(before[i].Path, tr.root+HookDir+"/")
		}
		if diff := cmp.Diff(c.want, before); err != nil || diff != "" || len(after) > 0 {
			t.Errorf("%s: %v, %v\n%s", name, err, after, diff)
		}
	}
}

func TestOneAtATime(t *testing.T) {
	v1, _ := programs(t)
	o := Options{Root: t.TempDir(), Hook: v1, Out: io.Discard}
	_, done, err := begin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Install(ended, o); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "another install is running") {
		t.Errorf("a second install that is interrupted: %v", err)
	}
	patience := lockPatience
	lockPatience = 0
	if err := Install(t.Context(), o); err == nil || !strings.Contains(err.Error(), "another install is running") {
		t.Errorf("a second install: %v", err)
	}
	lockPatience = patience
	time.AfterFunc(50*time.Millisecond, done)
	if err := Install(t.Context(), o); err != nil {
		t.Errorf("one that waits for the first: %v", err)
	}
}

func TestParseLibrary(t *testing.T) {
	for name, want := range map[string]guard.Version{
		"libvirt.so.0.9000.0":        9_000_000,
		"libvirt.so.0.6005.0":        6_005_000,
		"libvirt.so.0.6004.3":        6_004_003,
		"libvirt.so.0.11003.0":       11_003_000,
		"libvirt.so.0.1002.9":        1_002_009,
		"libvirt.so.0":               0,
		"libvirt.so.0.":              0,
		"libvirt.so.0.9000":          0,
		"libvirt.so.0.x.0":           0,
		"libvirt.so.0.9000.0.bak":    0,
		"libvirt-qemu.so.0.9000.0":   0,
		"libvirt.so.0.99999999999.0": 0,
	} {
		if got := parseLibrary(name); got != want {
			t.Errorf("parseLibrary(%q) = %d, want %d", name, got, want)
		}
	}
}

// Of several libraries the oldest counts: what it runs, the others run.
func TestLibvirtVersion(t *testing.T) {
	tr := makeSite(t, map[string]string{
		"/usr/local/lib/libvirt.so.0.10005.0":           "",
		"/usr/lib/x86_64-linux-gnu/libvirt.so.0.6000.0": "",
		"/usr/lib/libvirt/libvirt.so.0.1000.0":          "", // no place for libraries
	})
	// A link that would lead to the libraries of the machine that makes the image.
	other := makeSite(t, map[string]string{"/libvirt.so.0.2000.0": ""})
	if err := os.Symlink(other.root, tr.root+"/lib"); err != nil {
		t.Fatal(err)
	}
	if got := tr.libvirt(); got != 6_000_000 {
		t.Errorf("libvirt() = %d", got)
	}
	if got := (tree{root: t.TempDir()}).libvirt(); got != 0 {
		t.Errorf("libvirt() = %d without any", got)
	}
}

func TestResolve(t *testing.T) {
	tr := makeSite(t, map[string]string{"/a/b/file": ""})
	for link, target := range map[string]string{
		"/abs": "/a/b", "/rel": "a/b", "/a/up": "../../../..", "/out": "/nowhere/at/all", "/a/loop": "../a/loop", "/via": "rel/../up",
	} {
		if err := os.Symlink(target, tr.root+link); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"/a/b/file":        "/a/b/file",
		"/abs/file":        "/a/b/file",
		"/rel/new":         "/a/b/new",
		"/rel/new/dir":     "/a/b/new/dir",
		"/a/up/x":          "/x",
		"/../../x":         "/x",
		"/out":             "/out",
		"/out/x":           "/nowhere/at/all/x",
		"/via/abs/file":    "/a/b/file",
		"/abs/../b/./file": "/a/b/file",
	} {
		if got, err := tr.file(name); err != nil || got != tr.root+want {
			t.Errorf("file(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	if got, err := tr.dir("/out"); err != nil || got != tr.root+"/nowhere/at/all" {
		t.Errorf("dir(/out) = %q, %v", got, err)
	}
	if got, err := tr.dir("/a/loop"); err == nil {
		t.Errorf("dir(/a/loop) = %q without an error", got)
	}
	if got, err := (tree{}).dir("/proc/self/../self"); err != nil || got != "/proc/"+fmt.Sprint(os.Getpid()) {
		t.Errorf("dir on the host = %q, %v", got, err)
	}
}

// A program for another kind of machine would make libvirt refuse every start.
func TestOtherMachine(t *testing.T) {
	p, err := readProgram(built(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.runsHere(); err != nil {
		t.Errorf("this machine's own: %v", err)
	}
	// The build setting is text in the program, of which the length is written too.
	here := "build\tGOARCH=" + runtime.GOARCH
	there := "build\tGOARCH=" + strings.Repeat("z", len(runtime.GOARCH))
	q := &program{path: "other", data: []byte(strings.ReplaceAll(string(p.data), here, there))}
	if err := q.runsHere(); err == nil || !strings.Contains(err.Error(), "other is built for zz") {
		t.Errorf("another machine's: %v", err)
	}
}

// TestUninstallForgetsStarts: the claims of starting guests go with the hook that kept it.
func TestUninstallForgetsStarts(t *testing.T) {
	v1, _ := programs(t)
	tr := makeSite(t, sites["no hook"])
	if err := os.MkdirAll(tr.root+"/run", 0o755); err != nil {
		t.Fatal(err)
	}
	pristine := list(t, tr)
	o := Options{Root: tr.root, Hook: v1, Out: io.Discard}
	if err := Install(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(tr.root+"/run/hugeguard", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tr.root+"/run/hugeguard/claims", []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Uninstall(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pristine, list(t, tr)); diff != "" {
		t.Errorf("the uninstall left something (-before +after):\n%s", diff)
	}
}

// The directory of hooks goes with the hook where install made it, but for a libvirt that was installed since.
func TestUninstallAfterLibvirtCame(t *testing.T) {
	v1, _ := programs(t)
	for came, left := range map[string]bool{"": false, "/etc/libvirt/qemu.conf": true, "/etc/libvirt/hooks/network": true} {
		tr := makeSite(t, nil)
		o := Options{Root: tr.root, Hook: v1, Out: io.Discard}
		if err := Install(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if came != "" {
			if err := os.WriteFile(tr.root+came, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := Uninstall(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(tr.root + "/etc/libvirt/hooks"); left != (err == nil) {
			t.Errorf("after %q came: %v", came, err)
		}
	}
}
