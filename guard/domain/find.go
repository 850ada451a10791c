package domain

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"hugeguard/guard"
)

// Find returns the domain in a document: the document itself, or what a status file of libvirt's wraps (domstatus). An
// error names the element that is there instead, and the way out.
func Find(text []byte) ([]byte, error) {
	f, err := outline(text)
	switch {
	case err != nil:
		return nil, err
	case f.encoding != "":
		return nil, fmt.Errorf(`<?xml encoding="%s"?>: hugeguard reads UTF-8 only: convert it with "xmllint --encode UTF-8"`, guard.Printable(f.encoding, 40))
	case f.root == "domainsnapshot":
		return nil, errors.New("<domainsnapshot> is a snapshot and not a domain: name the domain, or put the <domain> that it contains in a file of its own")
	case len(f.domains) > 1:
		return nil, fmt.Errorf("it has %d <domain> elements, and hugeguard judges one at a time: put each in a file of its own", len(f.domains))
	case f.root != "domain" && f.root != "domstatus" && f.root != "":
		return nil, fmt.Errorf(`<%s> is not a domain: hugeguard takes what "virsh dumpxml" prints`, guard.Printable(f.root, 40))
	case len(f.domains) == 0:
		return nil, errors.New(`there is no <domain> in it: hugeguard takes what "virsh dumpxml" prints`)
	case !slices.Contains(qemuTypes, f.kind):
		return nil, fmt.Errorf("<domain type='%s'> is not run by QEMU: hugeguard judges only type='kvm' and type='qemu'", guard.Printable(f.kind, 40))
	}
	return f.domains[0], nil
}

// qemuTypes are the types of domains that libvirt's QEMU driver runs (virQEMUCapsInitGuest); "" in a file by hand.
var qemuTypes = []string{"kvm", "qemu", "hvf", "kqemu", ""}

// A sketch is what a document consists of.
type sketch struct {
	encoding string   // that the document declares, "" for UTF-8
	root     string   // the name of its first element, "" without one
	domains  [][]byte // the domains that are its root, or stand right in it
	kind     string   // the type of the first of them
}

// outline reads a document, without looking into the elements in it.
func outline(text []byte) (f sketch, err error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.CharsetReader = func(encoding string, in io.Reader) (io.Reader, error) {
		f.encoding = encoding
		return in, nil
	}
	for {
		start := d.InputOffset()
		token, err := d.Token()
		if err == io.EOF || f.encoding != "" {
			return f, nil
		} else if err != nil {
			return f, err
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		isRoot := f.root == ""
		if isRoot {
			f.root = e.Name.Local
		}
		if isRoot && e.Name.Local != "domain" {
			continue // into it
		}
		if err := d.Skip(); err != nil {
			return f, err
		}
		if e.Name.Local == "domain" {
			f.domains = append(f.domains, text[start:d.InputOffset()])
		}
		if len(f.domains) == 1 && f.kind == "" {
			f.kind = attribute(e, "type")
		}
	}
}

// attribute returns the value of an element's attribute, "" without one.
func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// notNumber says of the element that was read last which of its values is not the number that libvirt takes, and how a
// number with a unit is written. An error of another kind stays as it is.
func notNumber(last xml.StartElement, err error) error {
	number := new(strconv.NumError)
	if !errors.As(err, &number) {
		return err
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("<%s>: %s is too large a number", last.Name.Local, guard.Printable(number.Num, 40))
	}
	name, value := last.Name.Local, guard.Printable(number.Num, 40)
	digits := strings.TrimRight(number.Num, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := number.Num[len(digits):]
	digits = strings.TrimSpace(digits)
	_, isUnit := unitBytes(unit)
	_, notWhole := strconv.ParseUint(digits, 10, 64)
	hasUnit := isUnit && unit != "" && notWhole == nil
	for _, a := range last.Attr {
		if strings.TrimSpace(a.Value) != number.Num {
			continue
		}
		if hasUnit {
			return fmt.Errorf("<%s %s='%s'>: the unit is an attribute of its own: <%[1]s %[2]s='%[4]s' unit='%[5]s'>", name, a.Name.Local, value, digits, unit)
		}
		return fmt.Errorf("<%s %s='%s'>: %[2]s takes a whole number", name, a.Name.Local, value)
	}
	if hasUnit {
		return fmt.Errorf("<%s>%s</%[1]s>: the unit is an attribute: <%[1]s unit='%[4]s'>%[3]s</%[1]s>", name, value, digits, unit)
	}
	return fmt.Errorf("<%s>%s</%[1]s>: it takes a whole number", name, value)
}
