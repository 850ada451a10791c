//go:build libvirt_dlopen

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"libvirt.org/go/libvirt"
)

// connectLibvirt connects to this host's libvirt, for reading. The library is loaded at run time: without it, or
// without a daemon, it returns an error.
func connectLibvirt() (domains, error) {
	conn, err := libvirt.NewConnectReadOnly("qemu:///system")
	if err != nil {
		return nil, err
	}
	return libvirtDomains{conn}, nil
}

type libvirtDomains struct{ conn *libvirt.Connect }

func (l libvirtDomains) get(name string) (foundDomain, error) {
	d, err := l.conn.LookupDomainByName(name)
	if errors.Is(err, libvirt.ERR_NO_DOMAIN) {
		return foundDomain{}, fmt.Errorf("libvirt knows no domain %q: virsh list --all shows which there are", name)
	} else if err != nil {
		return foundDomain{}, fmt.Errorf("domain %q: %w", name, err)
	}
	defer d.Free()
	running, err := d.IsActive()
	if err != nil {
		return foundDomain{}, fmt.Errorf("domain %q: %w", name, err)
	}
	text, err := d.GetXMLDesc(0)
	if err != nil {
		return foundDomain{}, fmt.Errorf("domain %q: %w", name, err)
	}
	return foundDomain{[]byte(text), running}, nil
}

func (l libvirtDomains) off() ([]listed, error) {
	all, err := l.conn.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_INACTIVE)
	if err != nil {
		return nil, err
	}
	defer free(all)
	var off []listed
	for _, d := range all {
		name, err := d.GetName()
		if err != nil {
			return nil, err
		}
		autostart, err := d.GetAutostart()
		if err != nil {
			return nil, fmt.Errorf("domain %q: %w", name, err)
		}
		off = append(off, listed{name, autostart})
	}
	slices.SortFunc(off, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	return off, nil
}

func (l libvirtDomains) names() ([]string, error) {
	all, err := l.conn.ListAllDomains(0)
	if err != nil {
		return nil, err
	}
	defer free(all)
	var names []string
	for _, d := range all {
		name, err := d.GetName()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func free(all []libvirt.Domain) {
	for i := range all {
		all[i].Free()
	}
}

func (l libvirtDomains) close() { l.conn.Close() }
