package reserve

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"hugeguard/guard/nova"
)

// A file is one of Nova's configuration, as nova-compute reads it.
type file struct {
	name string // below the root
	text string
}

// most is how long a file may be, in bytes.
const most = 4 << 20

// read returns the files of the sources that are there, in the order in which nova-compute reads them, and the
// directories of files that it reads, if they are there or not.
func read(root string, sources []nova.Source) (files []file, dirs []string, err error) {
	for _, s := range sources {
		if s.Dir {
			dirs = append(dirs, s.Path[0])
		}
		for _, name := range s.Path {
			found, err := readSource(root, name, s.Dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			files = append(files, found...)
			if s.Dir {
				dirs[len(dirs)-1] = name
			}
			break
		}
	}
	return files, dirs, nil
}

// readSource returns a file, or the files of a directory in their order.
func readSource(root, name string, dir bool) (files []file, err error) {
	names := []string{name}
	if dir {
		if names, err = list(root, name); err != nil {
			return nil, err
		}
	}
	for _, n := range names {
		at, err := find(root, n)
		if err != nil {
			return nil, err
		}
		text, err := at.read()
		at.dir.Close()
		if err != nil {
			return nil, err
		}
		files = append(files, file{n, text})
	}
	return files, nil
}

// list returns the names of the files that nova-compute reads of a directory (oslo_config/cfg.py, _parse_config_files).
func list(root, name string) (names []string, err error) {
	at, err := follow(root, name)
	if err != nil {
		return nil, err
	}
	dir, err := hold(root, at)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := fs.ReadDir(dir.FS(), ".")
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") && e.Name()[0] != '.' {
			names = append(names, filepath.Join(name, e.Name()))
		}
	}
	return names, err
}

// with returns the files as they would be read with another one in that directory of the sources, or without it if its
// text is "".
func with(root string, sources []nova.Source, name, text string) ([]file, error) {
	var all []file
	for _, s := range sources {
		part, _, err := read(root, []nova.Source{s})
		if err != nil {
			return nil, err
		}
		if s.Dir && slices.Contains(s.Path, filepath.Dir(name)) || slices.Contains(s.Path, name) {
			part = slices.DeleteFunc(part, func(f file) bool { return f.name == name })
			if text != "" {
				part = append(part, file{name, text})
			}
			slices.SortFunc(part, func(a, b file) int { return strings.Compare(a.name, b.name) })
		}
		all = append(all, part...)
	}
	return all, nil
}

// reserves returns what Nova makes of the files.
func reserves(files []file) (nova.Reserved, error) {
	var c nova.Config
	for _, f := range files {
		if err := c.Add(f.name, f.text); err != nil {
			return nil, err
		}
	}
	return c.Reserved()
}
