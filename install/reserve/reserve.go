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
	"path/filepath"
	"slices"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/nova"
	"hugeguard/install/atomicfile"
)

// DropIn is the name of the drop-in, which sorts after those of others.
const DropIn = "zz-hugeguard.conf"

// A Change is how one file is to change.
type Change struct {
	File     string // below the root
	Old, New string // its texts; "" where there is no file

	root   string
	like   string // whose group and mode a new file gets, "" for those of its directory
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

// A Configuration is what nova-compute reads.
type Configuration struct {
	Root      string // "" for this host
	Sources   []nova.Source
	Contained bool // it reads them in a container
	Named     bool // the setting nova_conf names them
}

// own are the files and directories that oslo.config looks for in /etc without being asked, and what devstack names. Nova's
// account can start a nova-compute with other arguments, and would choose what is written.
var ownFiles, ownDirs = func() (files, dirs []string) {
	for _, s := range nova.Sources(nil) {
		for _, name := range s.Path {
			switch {
			case s.Dir:
				dirs = append(dirs, name)
			case strings.HasPrefix(name, "/etc/"):
				files = append(files, name)
			}
		}
	}
	return append(files, "/etc/nova/nova-cpu.conf"), dirs
}()

// writes reports whether a file may be written.
func (from Configuration) writes(name string) bool {
	return from.Named || slices.Contains(ownFiles, name) || slices.Contains(ownDirs, filepath.Dir(name)) && filepath.Clean(name) == name
}

// Plan returns the change that makes Nova reserve what is wanted, the complete setting; nil if the files say so already.
func (from Configuration) Plan(wanted []guard.Reservation) (*Change, error) {
	files, dirs, err := read(from.Root, from.Sources)
	if err != nil {
		return nil, err
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
	switch owned := written(from.Root, files, from.Contained); {
	case len(files) > 0 && is.Same(want):
		return nil, nil
	case owned != nil:
		return nil, *owned
	case len(files) == 0:
		return nil, errors.New("no configuration of nova-compute was found: name it with nova_conf in /etc/hugeguard.conf")
	}
	for _, dir := range dirs {
		c := Change{File: filepath.Join(dir, DropIn), like: from.model(files), root: from.Root}
		if i := slices.IndexFunc(files, func(f file) bool { return f.name == c.File }); i >= 0 {
			c.Old = files[i].text
		}
		var ours bool
		c.New, ours = dropIn(c.Old, lines)
		if ours && from.writes(c.File) && c.wins(from.Sources, want) {
			return &c, c.unlinked()
		}
	}
	for _, f := range lastFirst(files) {
		if !from.writes(f.name) {
			continue
		}
		text, err := inPlace(f.name, f.text, lines)
		if err != nil {
			return nil, err
		}
		c := Change{File: f.name, Old: f.text, New: text, root: from.Root}
		if c.wins(from.Sources, want) {
			return &c, nil
		}
	}
	return nil, fmt.Errorf("no file of %s can be changed so that Nova reserves this: edit them by hand (hugeguard writes to "+
		"%s, to the directories beside them, and to what nova_conf in /etc/hugeguard.conf names)", guard.Printable(names(files), 400), strings.Join(ownFiles, ", "))
}

// model returns the first of the files that may be written: a new one is for the same readers. "" if there is none.
func (from Configuration) model(files []file) string {
	for _, f := range files {
		if from.writes(f.name) {
			return f.name
		}
	}
	return ""
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
func (from Configuration) PlanRemoval() (changes []*Change, err error) {
	files, _, err := read(from.Root, from.Sources)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !from.writes(f.name) {
			if strings.HasPrefix(f.text, dropInHead) || strings.Contains(f.text, begin) {
				return nil, fmt.Errorf("%s: remove hugeguard's lines by hand, or name the file with nova_conf in /etc/hugeguard.conf", f.name)
			}
			continue
		}
		c := Change{File: f.name, Old: f.text, root: from.Root}
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
		changes = append(changes, &c)
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

// unlinked returns an error if there is a symbolic link in the place of the drop-in.
func (c *Change) unlinked() error {
	at, err := follow(c.root, filepath.Dir(c.File))
	if err != nil {
		return err
	}
	dir, err := hold(c.root, at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if info, err := dir.Lstat(DropIn); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s: it is a symbolic link, which hugeguard did not make: remove it", c.root+c.File)
	}
	return nil
}

// Backup is where Do has kept the file as it was; "" if it had no need to.
func (c *Change) Backup() string { return c.backup }

// foreign reports whether the file is there and has nothing that hugeguard wrote.
func (c *Change) foreign() bool {
	return c.Old != "" && !strings.HasPrefix(c.Old, dropInHead) && !slices.ContainsFunc(split(c.Old), func(line string) bool { return strings.TrimRight(line, "\r\n") == begin })
}

// Do makes the change, all at once. It is an error if the file was changed since it was read.
func (c *Change) Do() error {
	at, err := find(c.root, c.File)
	if errors.Is(err, fs.ErrNotExist) {
		at, err = c.makeDir()
	}
	if err != nil {
		return err
	}
	defer at.dir.Close()
	f, err := at.open()
	if errors.Is(err, fs.ErrNotExist) {
		return c.create(at)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	is, err := text(f)
	if err != nil {
		return err
	}
	if is != c.Old {
		return fmt.Errorf("%s was changed meanwhile: run it again", at.file)
	}
	unchanged := func() error { return at.unchanged(f, opened) }
	if c.New == "" {
		if err := unchanged(); err != nil {
			return err
		}
		return errors.Join(at.dir.Remove(at.name), atomicfile.SyncRoot(at.dir))
	}
	like, err := atomicfile.Of(f)
	if err != nil {
		return err
	}
	if c.foreign() {
		const suffix = ".before-hugeguard"
		if err := atomicfile.WriteLike(at.dir, at.name+suffix, []byte(c.Old), like, unchanged); err != nil {
			return err
		}
		c.backup = at.file + suffix
	}
	return atomicfile.WriteLike(at.dir, at.name, []byte(c.New), like, unchanged)
}

// create writes a new file. It belongs to root if the one that it is like does, and else to the owner of its directory:
// nobody gets a file where he could not make one.
func (c *Change) create(at place) error {
	if c.Old != "" {
		return fmt.Errorf("%s is gone: run it again", at.file)
	}
	above, err := at.dir.Stat(".")
	if err != nil {
		return err
	}
	like := atomicfile.Like{UID: int(owner(above).Uid), GID: int(owner(above).Gid), Mode: 0o640}
	if c.like != "" {
		model, err := find(c.root, c.like)
		if err != nil {
			return err
		}
		defer model.dir.Close()
		f, err := model.open()
		if err != nil {
			return err
		}
		defer f.Close()
		of, err := atomicfile.Of(f)
		if err != nil {
			return err
		}
		if of.UID != 0 && of.UID != like.UID {
			of.Mode |= 0o040 // who read it as its owner reads it as one of the group
		}
		if of.UID != 0 {
			of.UID = like.UID
		}
		like = of
		like.Label = nil // the policy's own
	}
	return atomicfile.WriteLike(at.dir, at.name, []byte(c.New), like, func() error { return at.unchanged(nil, nil) })
}

// makeDir makes the drop-in's directory.
func (c *Change) makeDir() (place, error) {
	dir, err := find(c.root, filepath.Dir(c.File))
	if err != nil {
		return place{}, err
	}
	defer dir.dir.Close()
	return dir.makeDir(filepath.Base(c.File))
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
