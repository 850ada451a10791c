// Package compute finds out what Nova believes of a host: what nova-compute is told of its huge pages, and which
// instances Nova counts.
package compute

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/nova"
	"hugeguard/hook/config"
	"hugeguard/hook/survey/process"
	"hugeguard/sysfs"
)

// Look finds out what Nova is told of this host's huge pages and which
// instances it counts, until the deadline at the latest. Where there is no sign of Nova, it is nil. processes are
// those of the host, nil where they are still to be looked for. known is whether there was time for all of it.
func Look(root sysfs.FS, conf config.Config, processes []sysfs.Process, deadline time.Time) (found *guard.Nova, known bool) {
	cut := false
	if processes == nil {
		processes, cut, _ = process.List(root, deadline)
	}
	var n guard.Nova
	compute, runs := findCompute(root, processes)
	told := tellNova(root, conf, compute, deadline)
	n.PID, n.Unit = compute.pid, compute.unit
	n.Files, n.Stale, n.Read = told.files, told.stale, told.read
	var err error
	n.Reserved, err = told.config.Reserved()
	if err := cmp.Or(told.err, err); err != nil {
		n.Fault = guard.Printable(err.Error(), 400)
	}
	for _, v := range told.config.Values {
		if !slices.Contains(n.SetIn, v.File) {
			n.SetIn = append(n.SetIn, v.File)
		}
	}
	instances, unread, late := instances(root, deadline)
	n.Instances, n.Unread = instances, unread
	addLost(root, &n, compute, told.config, deadline)
	known = !cut && !late && !errors.Is(told.err, errNoTime)
	if runs || len(n.Files) > 0 || n.Fault != "" || len(n.Instances) > 0 {
		return &n, known
	}
	return nil, known
}

// Sources returns what the nova-compute of this host reads, in this order: the running one, else the one that the
// configuration or a usual place shows. contained says that it runs in a container, which may see other files.
func Sources(root sysfs.FS, conf config.Config, deadline time.Time) (sources []nova.Source, contained bool) {
	processes, _, _ := process.List(root, deadline)
	c, runs := findCompute(root, processes)
	contained = runs && process.InContainer(root, c.pid)
	switch {
	case len(conf.NovaConf) > 0:
		return named(root, conf.NovaConf), contained
	case runs && !contained:
		return nova.Sources(c.arguments), false
	}
	r := novaReader{FS: root, left: novaLimit, deadline: deadline}
	_, sources = r.usual()
	return sources, contained
}

// compute is the running nova-compute.
type compute struct {
	pid, uid  int
	arguments []string // after the program's name
	unit      string   // its systemd service or container, "" where that is not known
}

// findCompute looks for nova-compute among the processes that are believed, the most
// the first, then by their pids. It is a Python script: the kernel gives it the script's
// name, unless somebody runs python with the script as an argument.
func findCompute(root sysfs.FS, processes []sysfs.Process) (first compute, found bool) {
	most := process.Untrusted
	for _, p := range processes {
		if !strings.HasPrefix(p.Name, process.ComputeName) && !strings.HasPrefix(p.Name, "python") {
			continue
		}
		t := process.Trusted(root, p, process.Nova)
		if t < most || t == process.Untrusted || t == most && p.PID > first.pid {
			continue
		}
		arguments := process.ArgumentsOf(root, p.PID).Compute
		if arguments == nil {
			continue
		}
		place, _ := root.Place(p.PID) // only words depend on it
		most, first, found = t, compute{p.PID, p.UID, arguments, place.String()}, true
	}
	return first, found
}

// told is what a configuration of Nova says.
type told struct {
	config  nova.Config
	files   []string // that were read, as nova-compute names them
	changed string   // the one that was changed last, and when
	newest  time.Time
	stale   string        // one that was changed after nova-compute had read it
	read    nova.Reserved // what it read then, nil where that is not known
	err     error         // the first
}

// tellNova reads the configuration: the one that the admin names, else that of the running nova-compute, else the first
// that lies where one usually does.
func tellNova(root sysfs.FS, conf config.Config, c compute, deadline time.Time) told {
	r := novaReader{FS: root, left: novaLimit, deadline: deadline}
	if len(conf.NovaConf) > 0 {
		return r.read(named(root, conf.NovaConf)).since(root, c)
	}
	usual, _ := r.usual()
	if c.pid == 0 {
		return usual
	}
	// What nova-compute itself sees is certain.
	r.owners = []int{0, c.uid}
	r.base = fmt.Sprintf("proc/%d/root", c.pid)
	if _, err := root.Stat(r.base); err != nil {
		r.base = "" // a captured host, or one that does not let us look
	}
	own := r.read(nova.Sources(c.arguments))
	switch {
	case len(own.files) == 0 && len(usual.files) > 0:
		// It is in a container that we cannot see into.
		return usual.since(root, c)
	case len(usual.files) > 0 && process.InContainer(root, c.pid):
		// An admin edits the host's files, and a container starts with a copy.
		mine, errMine := own.config.Reserved()
		theirs, errTheirs := usual.config.Reserved()
		switch {
		case errMine != nil || errTheirs != nil:
		case !mine.Same(theirs):
			usual.stale, usual.read = usual.changed, mine
		case own.newest.Equal(usual.newest):
			return usual.since(root, c) // it is no copy: the host's files are mounted there
		}
		return usual
	}
	return own.since(root, c)
}

// usual reads the configuration of the first deployment of which there are signs.
func (r *novaReader) usual() (t told, sources []nova.Source) {
	for _, d := range nova.Deployments() {
		if _, err := r.Stat(sysfs.Below("", d.Marker)); d.Marker != "" && err != nil {
			continue
		}
		t, sources = r.read(d.Sources), d.Sources
		if len(t.files) > 0 || t.err != nil {
			break
		}
	}
	return t, sources
}

// since finds out whether a file was changed after nova-compute had read it.
func (t told) since(root sysfs.FS, c compute) told {
	if c.pid == 0 {
		return t
	}
	started, ok, err := root.Started(c.pid)
	// The start is known to about a second, as the boot is.
	if err == nil && ok && t.newest.After(started.Add(2*time.Second)) {
		t.stale = t.changed
	}
	return t
}

// Limits of what is read of Nova's configuration.
const (
	novaLimit     = 8 << 20 // bytes of all files together; the sample with all comments has 0.4 MiB
	novaConfFiles = 200     // in a directory
	novaNames     = 10_000  // in a directory, of whatever
)

var errNoTime = errors.New("there was no time to read it")

// novaReader reads configurations as nova-compute sees them.
type novaReader struct {
	sysfs.FS
	base     string // where it has its root, "" for the host's own files
	owners   []int  // whose the files may be; nil for anybody's, where root alone decides what lies there
	left     int    // bytes that may be read
	deadline time.Time
}

// read reads the sources.
func (r *novaReader) read(sources []nova.Source) (t told) {
	for _, s := range sources {
		for _, name := range s.Path {
			if r.readSource(&t, s, name) {
				break
			}
		}
	}
	return t
}

// readSource reads a source where it may lie, and reports whether it lies there.
func (r *novaReader) readSource(t *told, s nova.Source, name string) bool {
	if !path.IsAbs(name) {
		t.fail(fmt.Errorf("%s: this path depends on how nova-compute was started", guard.Printable(name, 80)))
		return true
	}
	if !s.Dir {
		return r.readFile(t, name, s.Named)
	}
	names, changed, err := r.ReadDirOf(r.base, name, novaNames, r.deadline, r.owners...)
	if err != nil {
		if s.Named || !errors.Is(err, fs.ErrNotExist) {
			t.fail(err)
		}
		return false
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".conf") || n[0] == '.' })
	if len(names) > novaConfFiles {
		t.fail(fmt.Errorf("%s: %d files are too many", name, len(names)))
		return true
	}
	t.see(name, changed)
	slices.Sort(names)
	for _, n := range names {
		r.readFile(t, path.Join(name, n), true)
	}
	return true
}

// readFile reads a file, which must be there or need not, and reports whether it is.
func (r *novaReader) readFile(t *told, name string, must bool) bool {
	if time.Now().After(r.deadline) {
		t.fail(&fs.PathError{Op: "read", Path: name, Err: errNoTime})
		return true
	}
	text, changed, err := r.ReadOf(r.base, name, r.left, r.owners...)
	r.left -= len(text)
	if errors.Is(err, sysfs.ErrTooLarge) {
		r.left = 0
	}
	if errors.Is(err, fs.ErrNotExist) && !must {
		return false
	}
	t.files = append(t.files, name)
	if err != nil {
		t.fail(err)
		return true
	}
	t.see(name, changed)
	err = t.config.Add(name, string(text))
	if err != nil {
		t.fail(err)
	}
	return true
}

// see keeps what was changed last.
func (t *told) see(name string, changed time.Time) {
	if changed.After(t.newest) {
		t.newest, t.changed = changed, name
	}
}

// fail keeps the first error.
func (t *told) fail(err error) { t.err = cmp.Or(t.err, err) }

// named makes sources of what /etc/hugeguard.conf names: files and directories.
func named(root sysfs.FS, paths []string) []nova.Source {
	var sources []nova.Source
	for _, p := range paths {
		info, err := root.Stat(sysfs.Below("", p))
		sources = append(sources, nova.Source{Path: []string{p}, Dir: err == nil && info.IsDir(), Named: true})
	}
	return sources
}

// maxXML is more than libvirt's file of a domain has, in bytes.
const maxXML = 8 << 20

// instances returns Nova's instances among libvirt's domains: those that run,
// and those that are defined and off, which Nova counts as well. unread is how
// many files there are that could not be read or understood; late says that there was no time for some.
func instances(root sysfs.FS, deadline time.Time) (found []guard.Instance, unread int, late bool) {
	type file struct {
		name    string
		running bool
	}
	var files []file
	seen := map[string]bool{}
	for _, dir := range []string{"run/libvirt/qemu/", "etc/libvirt/qemu/"} {
		names, _ := root.ReadDir(dir) // no libvirt, or no guests
		for _, name := range names {
			if strings.HasSuffix(name, ".xml") && !seen[name] {
				seen[name] = true
				files = append(files, file{dir + name, strings.HasPrefix(dir, "run")})
			}
		}
	}
	domains, late := process.SideBySide(files, deadline, func(f file) (i *guard.Instance, ok bool) {
		text, err := root.ReadFile(f.name, maxXML)
		if err != nil {
			return nil, errors.Is(err, fs.ErrNotExist) // it has ended
		}
		i, err = ParseInstance(text)
		if i != nil {
			i.Running = f.running
		}
		return i, err == nil
	})
	for _, i := range domains {
		if i != nil {
			found = append(found, *i)
		}
	}
	slices.SortFunc(found, func(a, b guard.Instance) int { return cmp.Compare(a.Name, b.Name) })
	return found, len(files) - len(domains), late
}

// ParseInstance reads what Nova counts for a domain: each guest cell's pages on the one node that Nova binds it to. It
// is nil where Nova did not make the domain. text is a domain or libvirt's status of one.
func ParseInstance(text []byte) (*guard.Instance, error) {
	if !bytes.Contains(text, []byte(domain.NovaNamespace)) {
		return nil, nil
	}
	demand, err := domain.Parse(domainOnly(text))
	if err != nil || demand.Domain.Manager != guard.ManagerNova {
		return nil, err
	}
	instance := guard.InstanceOf(demand, false)
	return &instance, nil
}

// domainOnly cuts the domain out of libvirt's status of one, and the devices out of the domain: they are most of it,
// and Nova gives no guest memory as a device. libvirt writes these files, so that its elements look like this and
// nothing else does behind the last of them.
func domainOnly(text []byte) []byte {
	if at := bytes.Index(text, []byte("<domain type=")); at >= 0 {
		text = text[at:]
	}
	if end := bytes.LastIndex(text, []byte("</domain>")); end >= 0 {
		text = text[:end+len("</domain>")]
	}
	begin, end := bytes.LastIndex(text, []byte("<devices>")), bytes.LastIndex(text, []byte("</devices>"))
	if begin < 0 || end < begin {
		return text
	}
	return slices.Concat(text[:begin], text[end+len("</devices>"):])
}
