//go:build libvirt_dlopen

// Command native asks libvirtd what it makes of domains. It reads a stream of
// JSON strings, each a domain's XML, and answers each with one JSON object.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"libvirt.org/go/libvirt"
)

// answer is what libvirt makes of a domain.
type answer struct {
	Error     string // why there is no command line
	Command   string // the QEMU command line, quoted for a shell
	Formatted string // the XML as libvirt writes it; "" where it cannot be defined
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "native:", err)
		os.Exit(1)
	}
}

func run() error {
	conn, err := libvirt.NewConnect("qemu:///system")
	if err != nil {
		return err
	}
	defer conn.Close()
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var xml string
		if err := in.Decode(&xml); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := ask(conn, xml)
		if err != nil {
			return err
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func ask(conn *libvirt.Connect, xml string) (a answer, err error) {
	if a.Command, err = conn.DomainXMLToNative("qemu-argv", xml, 0); err != nil {
		a.Error = err.Error()
	}
	// The command line can fail where the definition does not.
	domain, err := conn.DomainDefineXML(xml)
	if err != nil {
		if a.Error == "" {
			a.Error = err.Error()
		}
		return a, nil
	}
	defer domain.Free()
	a.Formatted, err = domain.GetXMLDesc(libvirt.DOMAIN_XML_INACTIVE)
	return a, errors.Join(err, domain.Undefine())
}
