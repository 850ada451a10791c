// Package domains looks up the domains of a host: in libvirt, or in libvirt's files.
package domains

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard/domain"
	"hugeguard/install/daemon"
	"hugeguard/sysfs"
)

// A Domain is one that libvirt knows.
type Domain struct {
	From    string // the file, or how it was asked for
	XML     []byte
	Running bool
}

// Known are the domains of a host.
type Known interface {
	// Get returns a domain as it runs, else as it is defined, by its name.
	Get(name string) (Domain, error)
	// ByID and ByUUID do the same; the error wraps ErrNone where there is none. Only a running domain has an ID.
	ByID(id uint32) (Domain, error)
	ByUUID(uuid string) (Domain, error)
	// Off returns the domains that are defined and do not run, sorted by name.
	Off() ([]Listed, error)
	// Names returns all domains, for completing a command line.
	Names() ([]string, error)
	Close()
}

// ErrNone is wrapped by the error of a domain that does not exist.
var ErrNone = errors.New("virsh list --all shows all domains")

// Find returns the domain that an argument names: by its ID, its UUID or its name, in the order of virsh
// (virshCommandOptDomainBy).
func Find(known Known, arg string) (Domain, error) {
	missing := error(nil)
	if id, err := strconv.ParseUint(arg, 10, 31); err == nil {
		d, err := known.ByID(uint32(id))
		if !errors.Is(err, ErrNone) {
			return d, err
		}
		missing = err
	}
	if IsUUID(arg) {
		d, err := known.ByUUID(arg)
		if !errors.Is(err, ErrNone) {
			return d, err
		}
		missing = err
	}
	d, err := known.Get(arg)
	if errors.Is(err, ErrNone) {
		err = cmp.Or(missing, err)
	}
	return d, err
}

// uuidForm is what a UUID looks like, as virsh takes it.
var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsUUID reports whether a text looks like a UUID.
func IsUUID(text string) bool { return uuidForm.MatchString(text) }

// A Listed is a domain in a list.
type Listed struct {
	Name string
	// Autostart reports whether libvirt starts it by itself, mostly with the host.
	Autostart bool
}

// Open returns the domains of a host: from libvirt if this is the host and the program is built to ask it, else
// from libvirt's files.
func Open(host sysfs.FS) Known {
	files := Files{host}
	if !host.Live() {
		return files
	}
	asked, err := connectLibvirt()
	if err != nil || asked == nil {
		return Files{contained(host)} // the files are there even if libvirt does not answer
	}
	return asked
}

// contained returns the files of libvirt's daemon: those of a container if it runs in one, else the host's.
func contained(host sysfs.FS) sysfs.FS {
	on := daemon.On(host)
	running, _ := on.Running(context.Background(), nil) // without one the host's are all there is
	for _, p := range running {
		if on.Contained(p) {
			return sysfs.New(on.Root(p))
		}
	}
	return host
}

// Files reads libvirt's own files: /run/libvirt/qemu/NAME.xml of a domain that runs (the domain inside its
// status; private to libvirt, readable by root) and /etc/libvirt/qemu/NAME.xml of one that is defined.
type Files struct{ Host sysfs.FS }

const (
	runningDir = "run/libvirt/qemu"
	definedDir = "etc/libvirt/qemu"
)

// maxXML is more than any domain's XML has, in bytes.
const maxXML = 32 << 20

func (d Files) Get(name string) (Domain, error) {
	// libvirt allows every name that a file can have; one with a slash would lead to another file.
	if name == "" || strings.Contains(name, "/") {
		return Domain{}, fmt.Errorf("%q cannot be a domain's name", name)
	}
	for _, dir := range []string{runningDir, definedDir} {
		found, err := d.read(dir, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	return Domain{}, d.missing(strconv.Quote(name))
}

// read returns the domain of that name in a directory.
func (d Files) read(dir, name string) (Domain, error) {
	file := dir + "/" + name + ".xml"
	text, err := d.Host.ReadFile(file, maxXML)
	if err != nil {
		return Domain{}, err
	}
	text, err = domain.Find(text)
	if err != nil {
		return Domain{}, fmt.Errorf("%s: %w", d.Host.Path(file), err)
	}
	return Domain{d.Host.Path(file), text, dir == runningDir}, nil
}

// missing is the error of a domain that no file has.
func (d Files) missing(what string) error {
	return fmt.Errorf("no domain %s in %s or %s: %w", what, d.Host.Path(runningDir), d.Host.Path(definedDir), ErrNone)
}

// identity is what libvirt knows a domain by, beside its name.
type identity struct {
	ID   string `xml:"id,attr"` // of a domain that runs
	UUID string `xml:"uuid"`
}

// UUID returns the domain's UUID, "" where it has none that can be read.
func (d Domain) UUID() string {
	var is identity
	_ = xml.Unmarshal(d.XML, &is) // which leaves it empty
	return strings.TrimSpace(is.UUID)
}

func (d Files) ByID(id uint32) (Domain, error) {
	text := strconv.FormatUint(uint64(id), 10)
	return d.search("with the ID "+text, []string{runningDir}, func(is identity) bool { return is.ID == text })
}

func (d Files) ByUUID(uuid string) (Domain, error) {
	return d.search("with the UUID "+uuid, []string{runningDir, definedDir}, func(is identity) bool {
		return strings.EqualFold(strings.TrimSpace(is.UUID), uuid)
	})
}

// search returns the first domain in these directories that is the one. A file that is no domain is passed over, unless
// none of the others is it.
func (d Files) search(what string, dirs []string, isIt func(identity) bool) (Domain, error) {
	var failed error
	for _, dir := range dirs {
		names, err := d.in(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Domain{}, err
		}
		for _, name := range names {
			found, err := d.read(dir, name)
			if err != nil {
				failed = cmp.Or(failed, err)
				continue
			}
			var is identity
			if err := xml.Unmarshal(found.XML, &is); err == nil && isIt(is) {
				return found, nil
			}
		}
	}
	return Domain{}, errors.Join(d.missing(what), failed)
}

func (d Files) Off() ([]Listed, error) {
	defined, err := d.in(definedDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: libvirt's QEMU driver has never defined a domain here", err)
	} else if err != nil {
		return nil, err
	}
	running, err := d.in(runningDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var off []Listed
	for _, name := range defined {
		if !slices.Contains(running, name) {
			off = append(off, Listed{name, d.autostart(name)})
		}
	}
	return off, nil
}

// autostart reports whether libvirt starts a domain by itself: there is a link to its definition
// (virDomainObjListLoadConfig). The link is not followed, since a root may not hold its target.
func (d Files) autostart(name string) bool {
	target, err := d.Host.Readlink(definedDir + "/autostart/" + name + ".xml")
	return err == nil && filepath.Base(target) == name+".xml"
}

func (d Files) Names() ([]string, error) {
	defined, err := d.in(definedDir)
	running, runErr := d.in(runningDir)
	names := append(defined, running...)
	slices.Sort(names)
	return slices.Compact(names), errors.Join(err, runErr)
}

// in returns the domains with a file in a directory, sorted by name.
func (d Files) in(dir string) ([]string, error) {
	entries, err := d.Host.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry, ".xml"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names) // again, now without the .xml
	return names, nil
}

func (d Files) Close() {}

// isFile reports whether an argument of check is a file rather than a domain's name.
func isFile(arg string) bool {
	if strings.Contains(arg, "/") || filepath.Ext(arg) == ".xml" {
		return true
	}
	fi, err := os.Stat(arg)
	return err == nil && fi.Mode().IsRegular()
}

// readXML reads a domain's XML. It is an error if it is too large to be any.
func readXML(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxXML+1))
	if err == nil && len(text) > maxXML {
		err = fmt.Errorf("not a domain's XML: more than %d MiB", maxXML>>20)
	}
	return text, err
}

// Read returns the domain that an argument of check names.
func Read(arg string, stdin io.Reader, host sysfs.FS) (Domain, error) {
	if arg == "-" {
		return parseDomain("standard input", stdin)
	}
	if isFile(arg) {
		file, err := os.Open(arg)
		if err != nil {
			return Domain{}, err
		}
		defer file.Close()
		return parseDomain(arg, file)
	}
	all := Open(host)
	defer all.Close()
	return Find(all, arg)
}

// parseDomain returns the domain in a file.
func parseDomain(name string, file io.Reader) (Domain, error) {
	text, err := readXML(file)
	if err != nil {
		return Domain{}, err
	}
	text, err = domain.Find(text)
	if err != nil {
		return Domain{}, fmt.Errorf("%s: %w", name, err)
	}
	return Domain{From: name, XML: text}, nil
}

// completionPatience is how long completing a command line waits for libvirt.
const completionPatience = time.Second

// Names returns the domains that a command line can name; none if that takes too long or fails. It leaves out
// names that are not printable.
func Names(host sysfs.FS) []string {
	found := make(chan []string, 1)
	go func() {
		known := Open(host)
		defer known.Close()
		names, _ := known.Names()
		found <- slices.DeleteFunc(names, func(name string) bool {
			return strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) })
		})
	}()
	select {
	case names := <-found:
		return names
	case <-time.After(completionPatience):
		return nil
	}
}
