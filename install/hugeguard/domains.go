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

// foundDomain is one that libvirt knows.
type foundDomain struct {
	xml     []byte
	running bool
}

// domains is where domains are looked up by name.
type domains interface {
	// get returns a domain: as it runs, else as it is defined.
	get(name string) (foundDomain, error)
	// off lists the domains that are defined and do not run, by name.
	off() ([]listed, error)
	// names lists all domains, for who completes a command line.
	names() ([]string, error)
	close()
}

// A listed domain is one of a list.
type listed struct {
	name string
	// autostart says that libvirt starts it by itself, with the host mostly.
	autostart bool
}

// openDomains returns the domains of a host: from libvirt if this is the host and the program is built
// to ask it, else from the files that libvirt keeps.
func openDomains(host sysfs.FS) domains {
	files := domainFiles{host}
	if !host.Live() {
		return files
	}
	asked, err := connectLibvirt()
	if err != nil || asked == nil {
		return files // that libvirt does not answer says nothing against its files
	}
	return asked
}

// domainFiles reads libvirt's own files: /run/libvirt/qemu/NAME.xml of a domain that runs (the domain
// inside its status; private to libvirt, readable by root) and /etc/libvirt/qemu/NAME.xml of one that is
// defined.
type domainFiles struct{ host sysfs.FS }

const (
	runningDir = "run/libvirt/qemu"
	definedDir = "etc/libvirt/qemu"
)

// maxXML is more than any domain's XML has, in bytes.
const maxXML = 32 << 20

func (d domainFiles) get(name string) (foundDomain, error) {
	// libvirt allows every name that could be a file's; one with a slash would be another file's.
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

// autostart says whether libvirt starts a domain by itself: there is a link to its definition
// (virDomainObjListLoadConfig). Below a root the link is not followed.
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

// in lists the domains that have a file in a directory, by name.
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
	slices.Sort(names) // as without the .xml
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

// readXML reads a domain's XML, unless it is larger than one can be.
func readXML(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxXML+1))
	if err == nil && len(text) > maxXML {
		err = fmt.Errorf("more than %d MiB are no domain's XML", maxXML>>20)
	}
	return text, err
}

// readDomain reads the domain that an argument of check means.
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

// parseDomain reads the domain in a file.
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

// completionPatience is how long whoever completes a command line waits for libvirt.
const completionPatience = time.Second

// domainNames lists the domains that a command line can name, none where that takes long or cannot be found
// out. A name that a line cannot show is not among them.
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
