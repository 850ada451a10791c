package nova

import (
	"cmp"
	"path"
	"strings"
)

// paths are the values of the options that say where instances have their directories, "" where none is set.
type paths struct{ instances, state string }

// The names of these options.
const (
	instancesOption = "instances_path"
	stateOption     = "state_path"
)

// of returns the option of that name; nil for any other.
func (p *paths) of(key string) *string {
	switch key {
	case instancesOption:
		return &p.instances
	case stateOption:
		return &p.state
	}
	return nil
}

// add adds what a later file sets.
func (p *paths) add(later paths) {
	p.instances, p.state = cmp.Or(later.instances, p.instances), cmp.Or(later.state, p.state)
}

// odd stands for a value that no path looks like, of which nothing is kept.
const odd = "?"

// plain returns a value that looks like a path, and odd for any other.
func plain(value string) string {
	other := func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-${}", r)
	}
	if value == "" || len(value) > 1024 || strings.ContainsFunc(value, other) {
		return odd
	}
	return value
}

// Instances returns the directory in which each instance has a directory of its own, named by its UUID: instances_path,
// by default below state_path (nova/conf/compute.py and nova/conf/paths.py, with the packages' default of the latter). ok
// is false if it depends on another option.
func (c Config) Instances() (dir string, ok bool) {
	state := cmp.Or(c.paths.state, "/var/lib/nova")
	dir = strings.NewReplacer("${"+stateOption+"}", state, "$"+stateOption, state).Replace(cmp.Or(c.paths.instances, "$"+stateOption+"/instances"))
	return path.Clean(dir), path.IsAbs(dir) && !strings.Contains(dir, "$")
}
