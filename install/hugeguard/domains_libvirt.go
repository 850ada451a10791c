//go:build libvirt_dlopen

package main

import (
	"fmt"

	"libvirt.org/go/libvirt"
)

// connectLibvirt opens the domains of this host at libvirt itself, for reading. The library is
// found at run time: without it, or without a daemon, it is an error.
func connectLibvirt() (domains, error) {
	conn, err := libvirt.NewConnectReadOnly("qemu:///system")
	if err != nil {
		return nil, err
	}
	return libvirtDomains{conn}, nil
}

type libvirtDomains struct{ conn *libvirt.Connect }

func (l libvirtDomains) get(name string) (domain, error) {
	d, err := l.conn.LookupDomainByName(name)
	if err != nil {
		return domain{}, fmt.Errorf("domain %q: %w", name, err)
	}
	defer d.Free()
	running, err := d.IsActive()
	if err != nil {
		return domain{}, fmt.Errorf("domain %q: %w", name, err)
	}
	text, err := d.GetXMLDesc(0)
	if err != nil {
		return domain{}, fmt.Errorf("domain %q: %w", name, err)
	}
	return domain{[]byte(text), running}, nil
}

func (l libvirtDomains) off() ([]string, error) {
	all, err := l.conn.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_INACTIVE)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range all {
		name, err := d.GetName()
		d.Free()
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func (l libvirtDomains) close() { l.conn.Close() }
