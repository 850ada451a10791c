package install

import (
	"errors"
	"fmt"

	"hugeguard/hook"
)

// A Layout is where the hook program lies among the hooks of a site.
type Layout string

const (
	// Auto keeps the layout that is there; on a first install it is Main unless the site has a hook
	// of its own there, then DropIn where libvirt is known to be 6.5 or later, else Chain, which
	// every libvirt runs.
	Auto Layout = ""
	// Main is /etc/libvirt/hooks/qemu: the site has no qemu hook of its own there.
	Main Layout = "main"
	// DropIn is /etc/libvirt/hooks/qemu.d/50-hugeguard, which libvirt 6.5 and later runs after the
	// site's own /etc/libvirt/hooks/qemu, if there is one.
	DropIn Layout = "drop-in"
	// Chain is /etc/libvirt/hooks/qemu with the site's own hook beside it as qemu.site, which the
	// hook program runs with the same arguments and input.
	Chain Layout = "chain"
)

// ParseLayout reads the name of a layout.
func ParseLayout(s string) (Layout, error) {
	switch l := Layout(s); l {
	case Main, DropIn, Chain:
		return l, nil
	}
	return Auto, fmt.Errorf("no layout %q: there are %s, %s and %s", s, Main, DropIn, Chain)
}

// The names in the hook directory.
const (
	libvirtDir = "/etc/libvirt"
	hookDir    = libvirtDir + "/hooks"
	mainHook   = hookDir + "/qemu"
	dropInDir  = hookDir + "/qemu.d"
	dropInHook = dropInDir + "/50-hugeguard"
	siteHook   = mainHook + hook.SiteSuffix
)

// The directories that may have to be made, outermost first.
var (
	hookDirs  = []string{"/etc", libvirtDir, hookDir, dropInDir}
	stateDirs = []string{"/var", "/var/lib", stateDir}
)

// A scene is what lies in the hook directory.
type scene struct {
	main, site         file
	dropIn, dropInSite file
	libvirt            libvirtVersion
	record             *record // nil when there is none, or none to be read
	recordErr          error
}

func (t tree) scene() (s scene, err error) {
	s.libvirt = t.libvirt()
	s.record, s.recordErr = t.readRecord()
	for _, f := range []struct {
		to   *file
		name string
	}{{&s.main, mainHook}, {&s.site, siteHook}, {&s.dropIn, dropInHook}, {&s.dropInSite, dropInHook + hook.SiteSuffix}} {
		if *f.to, err = t.look(f.name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// layouts lists the layouts that are in place: one, or none, or two after a move that was
// interrupted.
func (s scene) layouts() []Layout {
	var in []Layout
	switch {
	case s.main.kind == ours && s.site.kind != absent:
		in = append(in, Chain)
	case s.main.kind == ours:
		in = append(in, Main)
	}
	if s.dropIn.kind == ours {
		in = append(in, DropIn)
	}
	return in
}

// chained reports whether the record says that install gave the site's hook its other name.
func (s scene) chained() bool { return s.record != nil && s.record.Layout == Chain }

// halfChained reports whether the site's hook has both its names: a chain that was not completed.
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

func (s scene) natural() Layout {
	switch in := s.layouts(); {
	case len(in) == 2 && s.record != nil && s.record.Layout == DropIn:
		return DropIn
	case len(in) > 0:
		return in[0]
	case s.main.kind == absent && s.site.kind == theirs && s.chained():
		return Chain // ours was taken away and the site's hook waits for it
	case s.main.kind == absent:
		return Main
	case s.libvirt >= dropInSince:
		return DropIn
	default:
		return Chain
	}
}

func (s scene) mainFits() error {
	switch {
	case s.main.kind == odd:
		return s.main.oddity()
	case s.main.kind == theirs:
		return fmt.Errorf("%s is the site's own hook: layout %s would replace it, use %s or %s", s.main.path, Main, DropIn, Chain)
	case s.site.kind != absent:
		return fmt.Errorf("%s is there, which the hook would run after itself: remove it, or use layout %s", s.site.path, Chain)
	}
	return nil
}

func (s scene) dropInFits() error {
	switch {
	case s.libvirt != 0 && s.libvirt < dropInSince:
		return fmt.Errorf("libvirt %s does not run what lies in %s, 6.5.0 is the first that does: use layout %s or %s", s.libvirt, dropInDir, Main, Chain)
	case s.dropInSite.kind != absent:
		return fmt.Errorf("%s is there, which the hook would run after itself: remove it first", s.dropInSite.path)
	case s.dropIn.kind == theirs:
		return fmt.Errorf("%s is not hugeguard's hook program: it will not be replaced", s.dropIn.path)
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
		return fmt.Errorf("no %s to run after the hook: use layout %s", s.main.path, Main)
	case s.main.kind == ours && s.site.kind == absent:
		return fmt.Errorf("%s is hugeguard's and there is no %s to run after it: use layout %s", s.main.path, s.site.path, Main)
	case s.main.kind == theirs && s.site.kind != absent && !s.halfChained():
		return s.twoSiteHooks()
	case s.site.kind == ours, s.site.kind == odd:
		return fmt.Errorf("%s is not a site's hook: remove it first", s.site.path)
	}
	return nil
}

// twoSiteHooks: somebody put a hook in the place of ours after it was chained.
func (s scene) twoSiteHooks() error {
	return fmt.Errorf("%s and %s are two hooks of the site: remove the one that is stale", s.main.path, s.site.path)
}

var errRoot = errors.New("only root may change libvirt's hooks (or use --root DIR)")
