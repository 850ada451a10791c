package place

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// An OtherHook is a qemu hook that is not hugeguard's.
type OtherHook struct {
	Path string `json:"path"`
	// HugePages reports whether its text, or that of a script below qemu.d which it may run, mentions huge pages: it
	// may make some, or give some back.
	HugePages bool `json:"huge_pages"`
}

// OtherHooks returns the other qemu hooks of the host below the root, which may be a captured one: those that libvirt
// runs before hugeguard's, or would run before it, and those that it runs after it.
func OtherHooks(root string) (before, after []OtherHook, err error) {
	t, err := treeAt(root)
	if err != nil {
		return nil, nil, err
	}
	if st, captured, err := t.captured(); captured {
		return st.HooksBefore, st.HooksAfter, err
	}
	s, err := t.scene()
	if err != nil {
		return nil, nil, err
	}
	before, after = t.otherHooks(s)
	return before, after, nil
}

func (t tree) otherHooks(s scene) (before, after []OtherHook) {
	path := filepath.Join(filepath.Dir(s.dropIn.path), "\U0010ffff") // after all others
	if in := s.layouts(); len(in) > 0 {
		path = s.lies(in[len(in)-1]).path
	}
	first, then := s.around(path)
	return t.describe(first), t.describe(then)
}

func (t tree) describe(paths []string) (hooks []OtherHook) {
	for _, path := range paths {
		name := strings.TrimPrefix(path, t.root)
		h := OtherHook{Path: path, HugePages: t.speaksOfPages(name)}
		if filepath.Dir(name) == HookDir && !h.HugePages {
			h.HugePages = t.dispatchesPages()
		}
		hooks = append(hooks, h)
	}
	return hooks
}

const (
	// mostScript is how much of a hook is read, in bytes, and mostScripts how many scripts of a dispatcher are.
	mostScript  = 256 << 10
	mostScripts = 500
)

// speaksOfPages reports whether a hook mentions huge pages.
func (t tree) speaksOfPages(name string) bool {
	real, err := t.dir(name)
	if err != nil {
		return false
	}
	if fi, err := os.Stat(real); err != nil || !fi.Mode().IsRegular() {
		return false
	}
	text, err := sysfs.New(t.root).ReadStart(strings.TrimPrefix(name, "/"), mostScript)
	if err != nil {
		return false
	}
	text = bytes.ToLower(text)
	for _, word := range []string{"hugepage", "hugetlb", "hugeadm"} {
		if bytes.Contains(text, []byte(word)) {
			return true
		}
	}
	return false
}

// dispatchesPages reports whether a script in a directory of qemu.d mentions huge pages. libvirt runs none of these,
// but the hooks of many sites do: qemu.d/DOMAIN/prepare/begin/NAME.
func (t tree) dispatchesPages() (found bool) {
	dir, err := t.dir(dropInDir)
	if err != nil {
		return false
	}
	left := mostScripts
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Dir(path) == dir {
			return nil // libvirt runs the files in qemu.d itself
		}
		if left == 0 || found {
			return filepath.SkipAll
		}
		left--
		found = t.speaksOfPages(strings.TrimPrefix(path, t.root))
		return nil
	})
	return found
}

// Paths returns the paths of hooks, for a message.
func Paths(hooks []OtherHook) string {
	const most = 5
	var shown []string
	for i, h := range hooks {
		if i == most {
			shown = append(shown, fmt.Sprintf("%d more", len(hooks)-i))
			break
		}
		shown = append(shown, guard.Printable(h.Path, 200))
	}
	return strings.Join(shown, ", ")
}

// writable returns the problem that others than root can change a file that root runs, or its directory; "" if only
// root can.
func writable(path string) string {
	fi, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if uid, _ := owner(fi); uid == 0 && (fi.Mode()&0o022 == 0) {
		return ""
	}
	return fmt.Sprintf("root runs %s, but others can change it: chown root %s; chmod go-w %s", path, path, path)
}
