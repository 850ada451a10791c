//go:build libvirt_dlopen

package domains

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirt"
)

// connectLibvirt connects to this host's libvirt, for reading. The library is loaded at run time: without it, or
// without a daemon, it returns an error.
func connectLibvirt() (Known, error) {
	conn, err := libvirt.NewConnectReadOnly("qemu:///system")
	if err != nil {
		return nil, err
	}
	return asked{conn}, nil
}

type asked struct{ conn *libvirt.Connect }

func (l asked) Get(name string) (Domain, error) {
	d, err := l.conn.LookupDomainByName(name)
	return found(strconv.Quote(name), d, err)
}

func (l asked) ByID(id uint32) (Domain, error) {
	d, err := l.conn.LookupDomainById(id)
	return found(fmt.Sprintf("with the ID %d", id), d, err)
}

func (l asked) ByUUID(uuid string) (Domain, error) {
	d, err := l.conn.LookupDomainByUUIDString(uuid)
	return found("with the UUID "+uuid, d, err)
}

// found returns the domain that a lookup found, and releases it.
func found(what string, d *libvirt.Domain, err error) (Domain, error) {
	if errors.Is(err, libvirt.ERR_NO_DOMAIN) {
		return Domain{}, fmt.Errorf("libvirt knows no domain %s: %w", what, ErrNone)
	} else if err != nil {
		return Domain{}, fmt.Errorf("domain %s: %w", what, err)
	}
	defer d.Free()
	running, err := d.IsActive()
	if err != nil {
		return Domain{}, fmt.Errorf("domain %s: %w", what, err)
	}
	text, err := d.GetXMLDesc(0)
	if err != nil {
		return Domain{}, fmt.Errorf("domain %s: %w", what, err)
	}
	return Domain{"domain " + what, []byte(text), running}, nil
}

func (l asked) Off() ([]Listed, error) {
	all, err := l.conn.ListAllDomains(libvirt.CONNECT_LIST_DOMAINS_INACTIVE)
	if err != nil {
		return nil, err
	}
	defer free(all)
	var off []Listed
	for _, d := range all {
		name, err := d.GetName()
		if err != nil {
			return nil, err
		}
		autostart, err := d.GetAutostart()
		if err != nil {
			return nil, fmt.Errorf("domain %q: %w", name, err)
		}
		off = append(off, Listed{name, autostart})
	}
	slices.SortFunc(off, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return off, nil
}

func (l asked) Names() ([]string, error) {
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

func (l asked) Close() { l.conn.Close() }
