package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hugeguard/guard/domain"
	"hugeguard/sysfs"
)

// A foundDomain is a domain that libvirt knows.
type foundDomain struct {
	xml     []byte
	running bool
}

// domains looks up domains by name.
type domains interface {
	// get returns a domain as it runs, else as it is defined.
	get(name string) (foundDomain, error)
	// off returns the domains that are defined and do not run, sorted by name.
	off() ([]listed, error)
	// names returns all domains, for completing a command line.
	names() ([]string, error)
	close()
}

// A listed is a domain in a list.
type listed struct {
	name string
	// autostart reports whether libvirt starts it by itself, mostly with the host.
	autostart bool
}

// openDomains returns the domains of a host: from libvirt if this is the host and the program is built to ask it, else
// from libvirt's files.
func openDomains(host sysfs.FS) domains {
	files := domainFiles{host}
	if !host.Live() {
		return files
	}
	asked, err := connectLibvirt()
	if err != nil || asked == nil {
		return files // the files are there even if libvirt does not answer
	}
	return asked
}

// domainFiles reads libvirt's own files: /run/libvirt/qemu/NAME.xml of a domain that runs (the domain inside its
// status; private to libvirt, readable by root) and /etc/libvirt/qemu/NAME.xml of one that is defined.
type domainFiles struct{ host sysfs.FS }

const (
	runningDir = "run/libvirt/qemu"
	definedDir = "etc/libvirt/qemu"
)

// maxXML is more than any domain's XML has, in bytes.
const maxXML = 32 << 20

func (d domainFiles) get(name string) (foundDomain, error) {
	// libvirt allows every name that a file can have; one with a slash would lead to another file.
	if name == "" || strings.Contains(name, "/") {
		return foundDomain{}, fmt.Errorf("%q cannot be a domain's name", name)
	}
	for _, dir := range []string{runningDir, definedDir} {
		text, err := d.host.ReadFile(dir+"/"+name+".xml", maxXML)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return foundDomain{}, err
		}
		text, err = domain.Find(text)
		if err != nil {
			return foundDomain{}, fmt.Errorf("%s: %w", d.host.Path(dir+"/"+name+".xml"), err)
		}
		return foundDomain{text, dir == runningDir}, nil
	}
	return foundDomain{}, fmt.Errorf("no domain %q in %s or %s: virsh list --all shows which there are", name, d.host.Path(runningDir), d.host.Path(definedDir))
}

func (d domainFiles) off() ([]listed, error) {
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
	var off []listed
	for _, name := range defined {
		if !slices.Contains(running, name) {
			off = append(off, listed{name, d.autostart(name)})
		}
	}
	return off, nil
}

// autostart reports whether libvirt starts a domain by itself: there is a link to its definition
// (virDomainObjListLoadConfig). The link is not followed, since a root may not hold its target.
func (d domainFiles) autostart(name string) bool {
	target, err := d.host.Readlink(definedDir + "/autostart/" + name + ".xml")
	return err == nil && filepath.Base(target) == name+".xml"
}

func (d domainFiles) names() ([]string, error) {
	defined, err := d.in(definedDir)
	running, runErr := d.in(runningDir)
	names := append(defined, running...)
	slices.Sort(names)
	return slices.Compact(names), errors.Join(err, runErr)
}

// in returns the domains with a file in a directory, sorted by name.
func (d domainFiles) in(dir string) ([]string, error) {
	entries, err := d.host.ReadDir(dir)
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

func (d domainFiles) close() {}

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
		err = fmt.Errorf("more than %d MiB are no domain's XML", maxXML>>20)
	}
	return text, err
}

// readDomain returns the domain that an argument of check names.
func readDomain(arg string, stdin io.Reader, host sysfs.FS) (foundDomain, error) {
	if arg == "-" {
		return parseDomain("standard input", stdin)
	}
	if isFile(arg) {
		file, err := os.Open(arg)
		if err != nil {
			return foundDomain{}, err
		}
		defer file.Close()
		return parseDomain(arg, file)
	}
	all := openDomains(host)
	defer all.close()
	return all.get(arg)
}

// parseDomain returns the domain in a file.
func parseDomain(name string, file io.Reader) (foundDomain, error) {
	text, err := readXML(file)
	if err != nil {
		return foundDomain{}, err
	}
	text, err = domain.Find(text)
	if err != nil {
		return foundDomain{}, fmt.Errorf("%s: %w", name, err)
	}
	return foundDomain{xml: text}, nil
}

// completionPatience is how long completing a command line waits for libvirt.
const completionPatience = time.Second

// domainNames returns the domains that a command line can name; none if that takes too long or fails. It leaves out
// names that are not printable.
func domainNames(host sysfs.FS) []string {
	found := make(chan []string, 1)
	go func() {
		known := openDomains(host)
		defer known.close()
		names, _ := known.names()
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
