// Package reserve writes what Nova is to keep back of the huge pages to where nova-compute reads it, and takes it away
// again.
//
// A drop-in of its own is written if it wins over all that is there, which is found out by reading the result as
// nova-compute would. Otherwise the last file that sets reserved_huge_pages gets the lines in place of its own, which
// become comments. Files that a deployment tool writes are left alone.
package reserve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/install/atomicfile"
	"hugeguard/sysfs"
)

// DropIn is the name of the drop-in, which sorts after those of others.
const DropIn = "zz-hugeguard.conf"

// A Change is how one file is to change.
type Change struct {
	File     string // below the root
	Old, New string // its texts; "" where there is no file

	root   string
	target string // what File leads to
	like   string // whose owner and mode a new file gets
	dir    bool   // its directory is missing
	backup string // where Do kept the file
}

// Owned is that a deployment tool writes the files, and would undo a change.
type Owned struct {
	Tool  string // "" where only a remark in a file tells
	File  string
	Where string // where the setting belongs, in words
}

func (e Owned) Error() string {
	return fmt.Sprintf("%s writes %s, so nothing is written here: %s", e.Tool, guard.Printable(e.File, 200), e.Where)
}

// Plan returns the change that makes Nova reserve what is wanted, the complete setting; nil if the files say so already.
// root is "" for this host. sources is what nova-compute reads; contained says that it runs in a container.
func Plan(root string, sources []nova.Source, contained bool, wanted []guard.Reservation) (*Change, error) {
	files, dirs, err := read(root, sources)
	if err != nil {
		return nil, err
	}
	if owned := owner(root, files, contained); owned != nil {
		return nil, *owned
	}
	if len(files) == 0 {
		return nil, errors.New("no configuration of nova-compute was found: name it with nova_conf in /etc/hugeguard.conf")
	}
	want := nova.Reserved{}
	var lines []string
	for _, r := range wanted {
		want[r.Pool] = int64(r.Count)
		lines = append(lines, option+"="+r.String())
	}
	is, err := reserves(files)
	if err != nil {
		return nil, err
	}
	if is.Same(want) {
		return nil, nil
	}
	for _, dir := range dirs {
		c := Change{File: filepath.Join(dir, DropIn), like: files[0].name, root: root}
		if i := slices.IndexFunc(files, func(f file) bool { return f.name == c.File }); i >= 0 {
			c.Old = files[i].text
		}
		var ours bool
		c.New, ours = dropIn(c.Old, lines)
		if ours && c.wins(sources, want) {
			return c.placed()
		}
	}
	for _, f := range lastFirst(files) {
		text, err := inPlace(f.name, f.text, lines)
		if err != nil {
			return nil, err
		}
		c := Change{File: f.name, Old: f.text, New: text, like: f.name, root: root}
		if c.wins(sources, want) {
			return c.placed()
		}
	}
	return nil, fmt.Errorf("no file of %s can be changed so that Nova reserves this: edit them by hand", guard.Printable(names(files), 400))
}

// lastFirst returns the files in the order in which they are tried: those that set the option come first.
func lastFirst(files []file) (order []file) {
	for _, set := range []bool{true, false} {
		for _, f := range slices.Backward(files) {
			if sets(f.text) == set {
				order = append(order, f)
			}
		}
	}
	return order
}

// PlanRemoval returns the changes that take away what was written.
func PlanRemoval(root string, sources []nova.Source) (changes []*Change, err error) {
	files, _, err := read(root, sources)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		c := Change{File: f.name, Old: f.text, like: f.name, root: root}
		ours := false
		if filepath.Base(f.name) == DropIn {
			c.New, ours = dropIn(f.text, nil)
		}
		if !ours {
			c.New, err = restored(f.name, f.text)
		}
		if err != nil {
			return nil, err
		}
		if c.New == c.Old {
			continue
		}
		if !sameOthers(c.Old, c.New) {
			return nil, fmt.Errorf("%s: other lines would change: remove hugeguard's by hand", f.name)
		}
		placed, err := c.placed()
		if err != nil {
			return nil, err
		}
		changes = append(changes, placed)
	}
	return changes, nil
}

// wins reports whether Nova would reserve what is wanted after the change, and find nothing else changed.
func (c Change) wins(sources []nova.Source, want nova.Reserved) bool {
	files, err := with(c.root, sources, c.File, c.New)
	if err != nil {
		return false
	}
	is, err := reserves(files)
	return err == nil && is.Same(want) && sameOthers(c.Old, c.New)
}

// placed finds out which file there is to write: below the root, wherever its links lead.
func (c Change) placed() (*Change, error) {
	dir, err := sysfs.Resolve(c.root, filepath.Dir(c.File), true)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, filepath.Base(c.File))
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err = os.Stat(dir)
		c.dir = errors.Is(err, fs.ErrNotExist)
		c.target = name
		return &c, nil
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0 && filepath.Base(name) == DropIn:
		return nil, fmt.Errorf("%s: it is a symbolic link, which hugeguard did not make: remove it", name)
	}
	c.target, err = sysfs.Resolve(c.root, c.File, true)
	if err == nil && c.Old == "" {
		var text []byte
		text, err = os.ReadFile(c.target)
		c.Old = string(text)
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// Backup is where Do has kept the file as it was; "" if it had no need to.
func (c *Change) Backup() string { return c.backup }

// foreign reports whether the file is there and has nothing that hugeguard wrote.
func (c *Change) foreign() bool {
	return c.Old != "" && !strings.HasPrefix(c.Old, dropInHead) && !slices.ContainsFunc(split(c.Old), func(line string) bool { return strings.TrimRight(line, "\r\n") == begin })
}

// Do makes the change, all at once.
func (c *Change) Do() error {
	if c.New == "" {
		return errors.Join(os.Remove(c.target), atomicfile.SyncDir(filepath.Dir(c.target)))
	}
	likeAt, err := sysfs.Resolve(c.root, c.like, true)
	if err != nil {
		return err
	}
	like, err := os.Stat(likeAt)
	if err != nil {
		return err
	}
	if c.dir {
		parent, err := os.Stat(filepath.Dir(likeAt))
		if err == nil {
			err = makeDir(filepath.Dir(c.target), parent)
		}
		if err != nil {
			return err
		}
	}
	if c.foreign() {
		c.backup = c.target + ".before-hugeguard"
		if err := atomicfile.WriteLike(c.backup, []byte(c.Old), like); err != nil {
			return err
		}
	}
	return atomicfile.WriteLike(c.target, []byte(c.New), like)
}

// Diff returns the lines that go, after "-", and those that come, after "+".
func (c *Change) Diff() []string {
	old, new := split(c.Old), split(c.New)
	for len(old) > 0 && len(new) > 0 && old[0] == new[0] {
		old, new = old[1:], new[1:]
	}
	for len(old) > 0 && len(new) > 0 && old[len(old)-1] == new[len(new)-1] {
		old, new = old[:len(old)-1], new[:len(new)-1]
	}
	diff := []string{"--- " + c.File, "+++ " + c.File}
	for _, line := range old {
		diff = append(diff, "-"+hidden(line))
	}
	for _, line := range new {
		diff = append(diff, "+"+hidden(line))
	}
	return diff
}

// hidden returns a line as it is shown: Nova's files hold passwords.
func hidden(line string) string {
	line = strings.TrimRight(line, "\r\n")
	ours := line == begin || line == end || line+"\n" == dropInHead
	if ours || sets(section+"\n"+strings.TrimPrefix(line, commented)) || strings.HasPrefix(line, "[") || line == "" {
		return guard.Printable(line, 400)
	}
	return "(another line)"
}

func names(files []file) string {
	var all []string
	for _, f := range files {
		all = append(all, f.name)
	}
	return strings.Join(all, ", ")
}
