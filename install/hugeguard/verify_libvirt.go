//go:build libvirt_dlopen

package main

import (
	"errors"
	"fmt"
	"strings"

	"libvirt.org/go/libvirt"

	"hugeguard/install"
)

// connectDaemon connects to the daemon that serves the URI.
func connectDaemon(uri string) (install.Libvirt, error) {
	conn, err := libvirt.NewConnect(uri)
	if err == nil {
		return daemon{conn}, nil
	}
	text := message(err)
	if strings.Contains(text, "libvirt.so") { // of dlopen(3)
		return nil, fmt.Errorf("%w: libvirt's library is not on this machine (Debian: libvirt0; RPM: libvirt-libs): %s", install.ErrNoLibrary, text)
	}
	return nil, errors.New(text)
}

// message is what libvirt says, without its numbers.
func message(err error) string {
	if e := (libvirt.Error{}); errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

// daemon is a libvirt daemon, as install.Libvirt.
type daemon struct{ conn *libvirt.Connect }

func (d daemon) DomainCapabilities() (string, error) {
	text, err := d.conn.GetDomainCapabilities("", "", "", "", 0)
	if err != nil {
		err = errors.New(message(err))
	}
	return text, err
}

func (d daemon) Start(xml string) (started bool, err error) {
	domain, err := d.conn.DomainCreateXML(xml, libvirt.DOMAIN_START_PAUSED|libvirt.DOMAIN_START_AUTODESTROY)
	if err != nil {
		var e libvirt.Error
		errors.As(err, &e)
		return false, &install.StartError{Hook: e.Code == libvirt.ERR_HOOK_SCRIPT_FAILED, Unsupported: e.Code == libvirt.ERR_CONFIG_UNSUPPORTED, Message: message(err)}
	}
	defer domain.Free()
	return true, domain.Destroy()
}

func (d daemon) Close() { d.conn.Close() }
