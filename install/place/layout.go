package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hugeguard/guard"
	"hugeguard/hook"
)

// A Layout is where the hook program lies among the hooks of a site.
type Layout string

const (
	// Auto is the layout in which the hook judges after all other qemu hooks of the site: Main if there are none, else
	// DropIn, or Chain if libvirt is older than 6.5 or of unknown version.
	Auto Layout = ""
	// Main is /etc/libvirt/hooks/qemu: the site has no other qemu hook.
	Main Layout = "main"
	// DropIn is /etc/libvirt/hooks/qemu.d/zz-hugeguard, which libvirt 6.5 and later runs after the site's own
	// /etc/libvirt/hooks/qemu and after what has a lesser name in qemu.d.
	DropIn Layout = "drop-in"
	// Chain is /etc/libvirt/hooks/qemu with the site's own hook beside it as qemu.site, which the hook program runs
	// with the same arguments and input before it judges.
	Chain Layout = "chain"
)

// ParseLayout reads the name of a layout.
func ParseLayout(s string) (Layout, error) {
	switch l := Layout(s); l {
	case Main, DropIn, Chain:
		return l, nil
	}
	return Auto, fmt.Errorf("unknown layout %q: use %s, %s or %s", s, Main, DropIn, Chain)
}

// HookDir is where libvirt has its hooks.
const HookDir = libvirtDir + "/hooks"

// The names there.
const (
	libvirtDir = "/etc/libvirt"
	mainHook   = HookDir + "/qemu"
	dropInDir  = HookDir + "/" + hook.DropInDir
	dropInHook = dropInDir + "/" + hook.DropInName
	siteHook   = mainHook + hook.SiteSuffix
	// oldDropIn is where versions put it that did not care about the order.
	oldDropIn = dropInDir + "/50-hugeguard"
)

// The directories that may have to be created, outermost first.
var (
	hookDirs  = []string{"/etc", libvirtDir, HookDir, dropInDir}
	stateDirs = []string{"/var", "/var/lib", stateDir}
)

// A scene is what lies in the hook directory.
type scene struct {
	main, site         file
	dropIn, dropInSite file
	oldDropIn          file
	others             []string // executables in qemu.d that are not hugeguard's, by their paths, in libvirt's order
	libvirt            guard.Version
	record             *record // nil if there is none, or it cannot be read
	recordErr          error
}

func (t tree) scene() (s scene, err error) {
	s.libvirt = t.libvirt()
	if s.libvirt == 0 {
		s.libvirt = t.cachedLibvirt()
	}
	s.record, s.recordErr = t.readRecord()
	for _, f := range []struct {
		to   *file
		name string
	}{{&s.main, mainHook}, {&s.site, siteHook}, {&s.dropIn, dropInHook}, {&s.dropInSite, dropInHook + hook.SiteSuffix}, {&s.oldDropIn, oldDropIn}} {
		*f.to, err = t.look(f.name)
		if err != nil {
			return s, err
		}
	}
	s.others, err = t.otherDropIns(s)
	return s, err
}

// otherDropIns lists the executables in qemu.d that are not hugeguard's.
func (t tree) otherDropIns(s scene) (paths []string, err error) {
	dir, err := t.dir(dropInDir)
	if err != nil {
		return nil, err
	}
	names, err := hook.Executables(dir, func(name string) (fs.FileInfo, error) {
		real, err := t.dir(strings.TrimPrefix(name, t.root))
		if err != nil {
			return nil, err
		}
		return os.Stat(real)
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if s.dropIn.kind == ours && path == s.dropIn.path || s.oldDropIn.kind == ours && path == s.oldDropIn.path || name == tempName {
			continue
		}
		paths = append(paths, path)
	}
	return paths, err
}

// layouts returns the layouts that are in place: one, none, or two after a move that was interrupted.
func (s scene) layouts() []Layout {
	var in []Layout
	switch {
	case s.main.kind == ours && s.site.kind != absent:
		in = append(in, Chain)
	case s.main.kind == ours:
		in = append(in, Main)
	}
	if s.dropIn.kind == ours || s.oldDropIn.kind == ours {
		in = append(in, DropIn)
	}
	return in
}

// lies returns the hook's file in a layout that is in place.
func (s scene) lies(l Layout) file {
	switch {
	case l != DropIn:
		return s.main
	case s.dropIn.kind == ours:
		return s.dropIn
	default:
		return s.oldDropIn
	}
}

// hookFiles returns the places where ours can lie, in any layout.
func (s scene) hookFiles() []file { return []file{s.main, s.dropIn, s.oldDropIn} }

// runsDropIns reports whether libvirt runs the files in qemu.d, as far as is known.
func (s scene) runsDropIns() bool { return s.libvirt == 0 || s.libvirt >= hook.DropInSince }

// around returns the paths of the other hooks that run before the hook program at path, started by libvirt or by the
// program itself, and of those that run after it.
func (s scene) around(path string) (before, after []string) {
	switch {
	case s.main.kind == theirs:
		before = append(before, s.main.path)
	case s.main.kind == ours && s.site.kind == theirs:
		before = append(before, s.site.path)
	}
	if s.runsDropIns() {
		for _, other := range s.others {
			if path != s.main.path && filepath.Base(other) < filepath.Base(path) {
				before = append(before, other)
			} else {
				after = append(after, other)
			}
		}
	}
	return before, after
}

// chained reports whether install gave the site's hook its other name, as recorded.
func (s scene) chained() bool { return s.record != nil && s.record.Layout == Chain }

// waiting reports whether the site's hook still has its other name although ours is gone.
func (s scene) waiting() bool {
	return s.main.kind == absent && s.site.kind == theirs && s.chained()
}

// halfChained reports whether the site's hook has both names, since a chain was not completed.
func (s scene) halfChained() bool {
	return s.main.kind == theirs && s.site.kind == theirs && sameFile(s.main, s.site)
}

// choose returns the layout for an install.
func (s scene) choose(want Layout) (Layout, error) {
	if want == Auto {
		want = s.natural()
	}
	switch want {
	case Main:
		return want, s.mainFits()
	case DropIn:
		return want, s.dropInFits()
	default:
		return want, s.chainFits()
	}
}

// natural returns the layout in which the hook judges last, which is the present one if it already does.
func (s scene) natural() Layout {
	own := s.main.kind == theirs || s.main.kind == ours && s.site.kind != absent ||
		s.waiting()
	in := s.layouts()
	placed := slices.Contains(in, DropIn) && (len(in) == 1 || s.record != nil && s.record.Layout == DropIn)
	switch {
	case s.libvirt >= hook.DropInSince && (own || len(s.others) > 0 || placed), s.libvirt == 0 && placed:
		return DropIn
	case own:
		return Chain
	default:
		return Main
	}
}

func (s scene) mainFits() error {
	switch {
	case s.main.kind == odd:
		return s.main.oddity()
	case s.main.kind == theirs:
		return fmt.Errorf("%s is the site's own hook, and layout %s would replace it: use %s or %s", s.main.path, Main, DropIn, Chain)
	case s.site.kind != absent:
		return fmt.Errorf("%s exists, and the hook would call it first: remove it, or use layout %s", s.site.path, Chain)
	}
	return nil
}

func (s scene) dropInFits() error {
	switch {
	case s.libvirt != 0 && s.libvirt < hook.DropInSince:
		return fmt.Errorf("libvirt %s does not run hooks in %s (6.5.0 and later do): use layout %s or %s", s.libvirt, dropInDir, Main, Chain)
	case s.dropInSite.kind != absent:
		return fmt.Errorf("%s exists, and the hook would call it first: remove it", s.dropInSite.path)
	case s.dropIn.kind == theirs:
		return fmt.Errorf("%s is not hugeguard's hook program, so hugeguard does not replace it", s.dropIn.path)
	case s.dropIn.kind == odd:
		return s.dropIn.oddity()
	case s.main.kind == odd:
		return s.main.oddity()
	case s.main.kind == theirs && s.site.kind != absent && !s.halfChained():
		return s.twoSiteHooks()
	case s.main.kind == ours && s.site.kind == ours, s.main.kind == ours && s.site.kind == odd:
		return fmt.Errorf("%s is not a site's hook: remove it first", s.site.path)
	}
	return nil
}

func (s scene) chainFits() error {
	switch {
	case s.main.kind == odd:
		return s.main.oddity()
	case s.main.kind == absent && s.site.kind == absent:
		return fmt.Errorf("no %s for the hook to call first: use layout %s", s.main.path, Main)
	case s.main.kind == ours && s.site.kind == absent:
		return fmt.Errorf("%s is hugeguard's and there is no %s for it to call first: use layout %s", s.main.path, s.site.path, Main)
	case s.main.kind == theirs && s.site.kind != absent && !s.halfChained():
		return s.twoSiteHooks()
	case s.site.kind == ours, s.site.kind == odd:
		return fmt.Errorf("%s is not a site's hook: remove it first", s.site.path)
	}
	return nil
}

// twoSiteHooks is the error after somebody replaced ours by another hook in a chain.
func (s scene) twoSiteHooks() error {
	return fmt.Errorf("%s and %s are both hooks of the site: remove the old one", s.main.path, s.site.path)
}

var errRoot = errors.New("only root may change libvirt's hooks (or use --root DIR)")
