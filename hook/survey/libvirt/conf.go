package libvirt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"hugeguard/guard"
	"hugeguard/sysfs"
)

// Files of libvirt's, below the root.
const (
	ConfPath = "etc/libvirt/qemu.conf"
	// DriverPID is written by the daemon that runs QEMU once it has read
	// qemu.conf (qemuStateInitialize), and by no other.
	DriverPID = "run/libvirt/qemu/driver.pid"
)

// Conf is the settings of qemu.conf that decide about huge pages. A nil list is
// a setting that is not there, an empty one is set to nothing.
type Conf struct {
	mounts      []string // hugetlbfs_mount
	controllers []string // cgroup_controllers
	filters     []string // capability_filters
	backing     []string // memory_backing_dir, one
}

// readQEMUConf returns the settings in the file of the system's libvirt daemon, none where there is no file. The daemon
// reads it when it starts and never again: certain says that it read this. A captured host is believed to be as it was
// captured.
func readQEMUConf(fs sysfs.FS) (s Conf, certain bool, err error) {
	text, err := fs.ReadFile(ConfPath, qemuConfLimit)
	if errors.Is(err, os.ErrNotExist) {
		return Conf{}, false, nil
	}
	if err != nil {
		return Conf{}, false, err
	}
	s, err = ParseConf(text)
	if err != nil {
		return Conf{}, false, fmt.Errorf("%s: %w", fs.Path(ConfPath), err)
	}
	return s, readByDaemon(fs), nil
}

// readByDaemon says whether libvirt goes by qemu.conf as it is: the daemon that runs QEMU started after the file was last
// changed, or none runs and the next one reads it. A session's daemon has another file.
func readByDaemon(fs sysfs.FS) bool {
	return fs.Sure(ConfPath, func() bool {
		var conf, daemon syscall.Stat_t
		if os.Geteuid() != 0 || fs.Status(ConfPath, &conf) != nil {
			return false
		}
		err := fs.Status(DriverPID, &daemon)
		if err != nil {
			return errors.Is(err, os.ErrNotExist) && !runs(fs)
		}
		// A file that is moved into place keeps its time of modification, so it is the time of change that counts.
		return before(conf.Ctim, daemon.Mtim)
	})
}

// runs reports whether a daemon may run, by its own pid file.
func runs(fs sysfs.FS) bool {
	return slices.ContainsFunc([]string{"run/virtqemud.pid", "run/libvirtd.pid"}, fs.Exists)
}

func before(a, b syscall.Timespec) bool {
	return a.Sec < b.Sec || a.Sec == b.Sec && a.Nsec < b.Nsec
}

// qemuConfLimit is far above the 40 KiB of the file that libvirt comes with.
const qemuConfLimit = 1 << 20

// ParseConf is parseQEMUConf, and leaves alone a file in which nothing can decide about huge pages.
func ParseConf(text []byte) (Conf, error) {
	if !mayDecide(text) {
		return Conf{}, nil
	}
	return parseQEMUConf(string(text))
}

// parseQEMUConf reads the settings of a qemu.conf. An error means that the
// daemon would not have started with it (virConfParse).
func parseQEMUConf(text string) (Conf, error) {
	p := confParser{text: text}
	values := map[string]confValue{}
	for p.at < len(p.text) {
		name, value, err := p.statement()
		if err != nil {
			return Conf{}, fmt.Errorf("line %d: %w", 1+strings.Count(text[:p.at], "\n"), err)
		}
		if _, known := values[name]; !known && name != "" {
			values[name] = value // the first counts
		}
	}
	var s Conf
	for name, setting := range map[string]*[]string{
		"hugetlbfs_mount":    &s.mounts,
		"cgroup_controllers": &s.controllers,
		"capability_filters": &s.filters,
		"memory_backing_dir": &s.backing,
	} {
		value, ok := values[name]
		if !ok {
			continue
		}
		if value.strings == nil || !value.list && name != "hugetlbfs_mount" && name != "memory_backing_dir" {
			return Conf{}, fmt.Errorf("%s is not a list of strings", name)
		}
		if value.list && name == "memory_backing_dir" {
			return Conf{}, fmt.Errorf("%s is not a string", name)
		}
		*setting = value.strings
	}
	return s, nil
}

// deciding are the settings that decide about huge pages.
var deciding = []string{"hugetlbfs_mount", "cgroup_controllers", "capability_filters", "memory_backing_dir"}

// mayDecide says whether any of these may be set. As it is installed, the file has them in comments alone, and no
// string of several lines, in which what looks like a comment is none.
func mayDecide(text []byte) bool {
	if bytes.IndexByte(text, '\r') >= 0 {
		return true // it ends lines, too
	}
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		line = bytes.TrimLeft(line, blanks)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if bytes.Contains(line, []byte(`"""`)) {
			return true
		}
		for _, name := range deciding {
			if bytes.Contains(line, []byte(name)) {
				return true
			}
		}
	}
	return false
}

// confValue is a value of libvirt's configuration files: a string, a list of
// strings, or, with nil strings, something else.
type confValue struct {
	strings []string
	list    bool
}

// confParser reads the grammar of libvirt's configuration files (virconf.c).
type confParser struct {
	text string
	at   int
}

// next is the next byte, 0 at the end.
func (p *confParser) next() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// skip goes past all bytes that are one of set.
func (p *confParser) skip(set string) {
	for p.at < len(p.text) && strings.IndexByte(set, p.text[p.at]) >= 0 {
		p.at++
	}
}

const (
	blanks   = " \t"
	lineEnds = "\n\r"
)

// wants is the error of text that is not what must come next.
func (p *confParser) wants(what string) error {
	return fmt.Errorf("%q is not %s", guard.Printable(p.line(), 40), what)
}

// line is what is left of the line. It looks for one byte at a time, which is
// much faster than for any of two: the file is nearly all comments.
func (p *confParser) line() string {
	line, _, _ := strings.Cut(p.text[p.at:], "\n")
	line, _, _ = strings.Cut(line, "\r")
	return line
}

// statement reads an assignment or a comment, which has no name, and what divides it from the next.
func (p *confParser) statement() (name string, value confValue, err error) {
	p.skip(blanks + lineEnds)
	if p.next() != '#' {
		name = p.name()
		if name == "" {
			return "", value, p.wants("a name")
		}
		p.skip(blanks)
		if p.next() != '=' {
			return "", value, p.wants("an assignment")
		}
		p.at++
		value, err = p.value(false)
		if err != nil {
			return "", value, err
		}
		p.skip(blanks)
	}
	if p.next() == '#' {
		p.at += len(p.line())
	}
	p.skip(blanks)
	switch {
	case p.at == len(p.text):
		return name, value, nil
	case p.next() == ';':
		p.at++
	case strings.IndexByte(lineEnds, p.next()) < 0:
		return "", value, p.wants("the end of a line")
	}
	p.skip(blanks + lineEnds)
	return name, value, nil
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// name reads a letter and the letters, digits and _ that follow.
func (p *confParser) name() string {
	start := p.at
	if isLetter(p.next()) {
		for isLetter(p.next()) || isDigit(p.next()) || p.next() == '_' {
			p.at++
		}
	}
	return p.text[start:p.at]
}

func (p *confParser) value(inList bool) (confValue, error) {
	p.skip(blanks)
	switch c := p.next(); {
	case c == '"', c == '\'':
		s, err := p.quoted()
		return confValue{strings: []string{s}}, err
	case c == '[' && !inList: // no setting is a list of lists
		return p.list()
	case isDigit(c), c == '-', c == '+':
		p.at++
		if !isDigit(c) && !isDigit(p.next()) {
			return confValue{}, p.wants("a number")
		}
		for isDigit(p.next()) {
			p.at++
		}
		return confValue{}, nil
	}
	return confValue{}, p.wants("a value")
}

// list reads a list. It may end in a comma.
func (p *confParser) list() (confValue, error) {
	all := []string{}
	p.at++
	for first := true; ; first = false {
		p.skip(blanks + lineEnds)
		if p.next() == ']' {
			break
		}
		if !first {
			if p.next() != ',' {
				return confValue{}, p.wants("a comma or ]")
			}
			p.at++
			p.skip(blanks + lineEnds)
			if p.next() == ']' {
				break
			}
		}
		value, err := p.value(true)
		if err != nil {
			return confValue{}, err
		}
		if all != nil && value.strings != nil {
			all = append(all, value.strings...)
		} else {
			all = nil
		}
	}
	p.at++
	return confValue{strings: all, list: true}, nil
}

// quoted reads a string: in single or double quotes on one line, or in three
// double quotes on any number. There are no escapes.
func (p *confParser) quoted() (string, error) {
	quote, ends := p.text[p.at:p.at+1], lineEnds
	// libvirt wants one byte more behind the shortest of these strings.
	if strings.HasPrefix(p.text[p.at:], `"""`) && p.at+6 < len(p.text) {
		quote, ends = `"""`, ""
	}
	rest := p.text[p.at+len(quote):]
	end := strings.Index(rest, quote)
	if end < 0 || strings.ContainsAny(rest[:end], ends) {
		return "", p.wants("a string")
	}
	p.at += 2*len(quote) + end
	return rest[:end], nil
}

// useCpuset says whether libvirt confines QEMU by the cpuset controller
// (qemuProcessHook, virDomainCgroupInitCgroup); nil where that is not certain.
func (s Conf) useCpuset(fs sysfs.FS) *bool {
	yes, no := true, false
	if s.controllers != nil && !slices.Contains(s.controllers, "cpuset") {
		return &no
	}
	dir, ok, err := fs.CpusetMount()
	switch {
	case err != nil:
		return nil
	case !ok:
		return &no
	}
	// Where the daemon may not make groups, libvirt runs QEMU without, or not at all.
	dir = strings.TrimPrefix(dir, "/")
	if !fs.Sure(dir, func() bool { return mayMakeGroups(fs.Path(dir), os.Geteuid()) }) {
		return nil
	}
	return &yes
}

// mayMakeGroups reports whether a user may make groups in a control group: it is the user's, and mounted so that it can
// be written. Root needs no permission for that, and has none in the root of version 2, whose mode is 0555
// (kernfs_create_root). To ask access(2) for it would be a denial in SELinux's log, since the hook itself may not.
func mayMakeGroups(dir string, user int) bool {
	var group syscall.Stat_t
	var mount syscall.Statfs_t
	if syscall.Stat(dir, &group) != nil || syscall.Statfs(dir, &mount) != nil {
		return false
	}
	return int(group.Uid) == user && (user == 0 || group.Mode&syscall.S_IWUSR != 0) && mount.Flags&readOnly == 0
}

// readOnly is ST_RDONLY in what statfs(2) calls f_flags.
const readOnly = 1

// ReduceConf keeps the settings that decide about huge pages: the others have passwords among them. An error is of a
// file with which the daemon would not have started, or of a setting that cannot be written again.
func ReduceConf(text []byte) ([]byte, error) {
	if !mayDecide(text) {
		return []byte{}, nil
	}
	s, err := parseQEMUConf(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for i, values := range [][]string{s.mounts, s.controllers, s.filters, s.backing} {
		if values == nil {
			continue
		}
		quoted := make([]string, len(values))
		for k, v := range values {
			quote := `"`
			switch {
			case strings.ContainsAny(v, lineEnds) || strings.Contains(v, quote) && strings.Contains(v, "'"):
				quote = `"""`
			case strings.Contains(v, quote):
				quote = "'"
			}
			quoted[k] = quote + v + quote
		}
		format := "%s = [%s]\n"
		if deciding[i] == "memory_backing_dir" {
			format = "%s = %s\n"
		}
		fmt.Fprintf(&b, format, deciding[i], strings.Join(quoted, ", "))
	}
	again, err := parseQEMUConf(b.String())
	if err != nil || !reflect.DeepEqual(again, s) {
		return nil, fmt.Errorf("%q cannot be written again", guard.Printable(b.String(), 40))
	}
	return append([]byte{}, b.Bytes()...), nil
}
