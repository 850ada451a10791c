//go:build libvirt_dlopen

package main

import (
	"errors"
	"fmt"
	"strings"

	"libvirt.org/go/libvirt"

	"hugeguard/install/proof"
)

// connectDaemon connects to the daemon that serves the URI.
func connectDaemon(uri string) (proof.Libvirt, error) {
	conn, err := libvirt.NewConnect(uri)
	if err == nil {
		return connection{conn}, nil
	}
	text := message(err)
	if strings.Contains(text, "libvirt.so") { // of dlopen(3)
		return nil, fmt.Errorf("%w: libvirt's library is not on this machine (Debian: libvirt0; RPM: libvirt-libs): %s", proof.ErrNoLibrary, text)
	}
	return nil, errors.New(text)
}

// message returns libvirt's message, without its numbers.
func message(err error) string {
	if e := (libvirt.Error{}); errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return err.Error()
}

// A connection is a connection to a libvirt daemon, as a [proof.Libvirt].
type connection struct{ conn *libvirt.Connect }

func (c connection) DomainCapabilities() (string, error) {
	text, err := c.conn.GetDomainCapabilities("", "", "", "", 0)
	if err != nil {
		err = errors.New(message(err))
	}
	return text, err
}

func (c connection) Start(xml string) (started bool, err error) {
	domain, err := c.conn.DomainCreateXML(xml, libvirt.DOMAIN_START_PAUSED|libvirt.DOMAIN_START_AUTODESTROY)
	if err != nil {
		var e libvirt.Error
		errors.As(err, &e)
		return false, &proof.StartError{Hook: e.Code == libvirt.ERR_HOOK_SCRIPT_FAILED, Unsupported: e.Code == libvirt.ERR_CONFIG_UNSUPPORTED, Message: message(err)}
	}
	defer domain.Free()
	return true, domain.Destroy()
}

func (c connection) Close() { c.conn.Close() }
