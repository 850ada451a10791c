package domain

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"hugeguard/guard"
)

// What the XML of a domain can have, so that reading any takes little memory. libvirt passes no string above 4 MiB
// through its API (REMOTE_STRING_MAX in remote_protocol.x), and its parser takes no more than 256 levels
// (xmlParserMaxDepth in libxml2).
const (
	maxXMLBytes = 32 << 20
	maxToken    = 3 << 19 // bytes of one tag or one text
	maxDepth    = 256
	maxElements = 50_000 // beside metadata; 128 cells and their distances are 16,640
)

var (
	errXMLTooLarge = errors.New("it is larger than libvirt's can be")
	errXMLTooDeep  = errors.New("it is nested deeper than libvirt's can be")
)

// domainStream gives the tokens of a domain's XML one by one, those that domainXML has use for: what is left out costs
// little. Of the metadata, which is anybody's and may be most of it, it keeps the marks that are meant for us.
type domainStream struct {
	bytes    boundedBytes
	raw      *xml.Decoder
	depth    int
	section  string // the element of the domain's that the stream is in
	elements int
	last     xml.StartElement // that it gave

	marks marks
	own   prefixes // where the stream is, down to metadata
	metas int      // elements metadata so far
}

func newDomainStream(in io.Reader) *domainStream {
	s := &domainStream{bytes: boundedBytes{Reader: bufio.NewReader(in), all: maxXMLBytes}}
	s.raw = xml.NewDecoder(&s.bytes)
	return s
}

// The elements of a domain, and of its devices, that are of use.
var (
	sections = []string{"name", "uuid", "memory", "memoryBacking", "vcpu", "resource", "cputune", "numatune", "os", "cpu", "devices", "capabilities", "commandline"}
	devices  = []string{"memory", "interface", "emulator"}
)

// useful reports whether the stream is at the start of what is of use, or in it.
func (s *domainStream) useful(name string) bool {
	switch s.depth {
	case 2:
		return slices.Contains(sections, name)
	case 3:
		return s.section != "devices" || slices.Contains(devices, name)
	}
	return true
}

// Token is the next token; the caller matches starts with ends.
func (s *domainStream) Token() (xml.Token, error) {
	for from := 0; ; { // the depth from which all is left out, 0 for nothing
		s.bytes.token = maxToken
		token, err := s.raw.RawToken()
		if err != nil {
			return nil, err
		}
		out := from > 0
		switch t := token.(type) {
		case xml.StartElement:
			out, from, err = s.begin(t, from)
			if err != nil {
				return nil, err
			}
			if !out {
				s.last = t
			}
		case xml.EndElement:
			s.depth--
			if s.depth < from {
				from = 0
			}
		}
		if !out {
			return token, nil
		}
	}
}

// begin begins an element, from as in Token. It reports whether it is left out, and from which depth all is then: from
// none where it is passed at once.
func (s *domainStream) begin(t xml.StartElement, from int) (bool, int, error) {
	out := s.start(t, from > 0)
	if err := s.bound(); err != nil {
		return out, from, err
	}
	switch {
	case !out || from > 0:
		return out, from, nil
	case s.section == "metadata" || s.bytes.empty():
		return true, s.depth, nil
	}
	return true, 0, s.pass()
}

// start takes notice of the start of an element, and reports whether it is to be left out; within says that it is in
// one that is.
func (s *domainStream) start(t xml.StartElement, within bool) (out bool) {
	s.depth++
	if s.depth == 2 {
		s.section = t.Name.Local
		if s.section == "metadata" {
			s.metas++
		}
	}
	out = within || !s.useful(t.Name.Local)
	inMetadata := out && s.section == "metadata"
	s.look(t, inMetadata)
	if !inMetadata {
		s.elements++
	}
	return out
}

// pass reads to the end of an element that is left out, behind its start tag. It looks for no more than where tags begin
// and end, which takes a fifth of the time that a decoder takes.
func (s *domainStream) pass() error {
	for outside := s.depth - 1; s.depth > outside; {
		tag, err := s.bytes.tag()
		if err != nil {
			return err
		}
		if tag != endTag {
			s.depth++
			s.elements++
			if err := s.bound(); err != nil {
				return err
			}
		}
		if tag != startTag {
			s.depth--
		}
	}
	return nil
}

// bound returns an error if the XML is deeper or larger than libvirt's can be.
func (s *domainStream) bound() error {
	switch {
	case s.depth > maxDepth:
		return errXMLTooDeep
	case s.elements > maxElements:
		return errXMLTooLarge
	}
	return nil
}

// marks are what metadata says to us.
type marks struct {
	exempt, canary bool
	manager        guard.Manager // whose element comes first
}

// look takes notice of a start tag for what it says of namespaces, or to us: the elements in metadata itself, whatever
// lies deeper is somebody else's. libvirt knows but the first metadata.
func (s *domainStream) look(t xml.StartElement, inMetadata bool) {
	switch {
	case s.depth == 1:
		s.own = prefixes(nil).within(t)
	case s.metas != 1 || !inMetadata:
	case s.depth == 2:
		s.own = s.own.within(t)
	case s.depth == 3:
		s.marks.add(s.own.within(t).of(t.Name.Space), t.Name.Local)
	}
}

// add takes in an element by its namespace.
func (m *marks) add(namespace, name string) {
	if namespace == guard.Namespace {
		m.exempt = m.exempt || name == "exempt"
		m.canary = m.canary || name == "canary"
		return
	}
	m.manager = cmp.Or(m.manager, managerOf(namespace))
}

// NovaNamespace begins the namespace of Nova's metadata, with a version behind it (nova/virt/libvirt/config.py,
// NOVA_NS).
const NovaNamespace = "http://openstack.org/xmlns/libvirt/nova/"

// managers have elements of these namespaces in the metadata of domains that they make.
var managers = []struct {
	namespace string
	guard.Manager
}{
	{NovaNamespace + "1.1", guard.ManagerNova},
	{"http://ovirt.org/vm/1.0", guard.ManagerOVirt},                      // lib/vdsm/virt/xmlconstants.py
	{"http://kubevirt.io", guard.ManagerKubeVirt},                        // pkg/virt-launcher/virtwrap/api/schema.go
	{"http://opennebula.org/xmlns/libvirt/1.0", guard.ManagerOpenNebula}, // src/vmm/LibVirtDriverKVM.cc
}

// managerOf returns whose a namespace is, of Nova's in any version; "" for nobody's.
func managerOf(namespace string) guard.Manager {
	for _, m := range managers {
		if namespace == m.namespace || m.Manager == guard.ManagerNova && strings.HasPrefix(namespace, NovaNamespace) {
			return m.Manager
		}
	}
	return ""
}

// prefixes are those that stand for a namespace that is of interest; "" is that of names without one.
type prefixes []prefix

type prefix struct{ name, namespace string }

// maxPrefixes is how many of them are kept: nobody needs more.
const maxPrefixes = 8

// of returns the namespace that a prefix stands for; "" for all that are of no interest.
func (p prefixes) of(name string) string {
	i := slices.IndexFunc(p, func(known prefix) bool { return known.name == name })
	if i < 0 {
		return ""
	}
	return p[i].namespace
}

// within returns what prefixes stand for inside of an element.
func (p prefixes) within(t xml.StartElement) prefixes {
	for _, a := range t.Attr {
		name := ""
		switch {
		case a.Name.Space == "xmlns":
			name = a.Name.Local
		case a.Name.Space != "" || a.Name.Local != "xmlns":
			continue
		}
		p = slices.DeleteFunc(slices.Clone(p), func(known prefix) bool { return known.name == name })
		if (a.Value == guard.Namespace || managerOf(a.Value) != "") && len(p) < maxPrefixes {
			p = append(p, prefix{name, a.Value})
		}
	}
	return p
}

// boundedBytes are the bytes of a reader, so many for one token and for all.
type boundedBytes struct {
	*bufio.Reader
	token, all int  // that are left
	last, now  byte // that were read
	lines      int  // ends of lines that were passed and are still to be given: a decoder counts them for its errors
}

// ReadByte is what a decoder reads by.
func (b *boundedBytes) ReadByte() (byte, error) {
	if b.lines > 0 {
		b.lines--
		return '\n', nil
	}
	return b.next()
}

func (b *boundedBytes) next() (byte, error) {
	if b.token--; b.token < 0 {
		return 0, errXMLTooLarge
	}
	if b.all--; b.all < 0 {
		return 0, errXMLTooLarge
	}
	c, err := b.Reader.ReadByte()
	b.last, b.now = b.now, c
	return c, err
}

// empty reports whether the tag that was read last is an element of its own.
func (b *boundedBytes) empty() bool { return b.last == '/' && b.now == '>' }

// tagKind is what a tag does.
type tagKind int

// The kinds of tags.
const (
	startTag tagKind = iota
	endTag
	emptyTag // both at once
)

// tag passes what comes up to the end of the next tag.
func (b *boundedBytes) tag() (tagKind, error) {
	for {
		b.token = maxToken
		if err := b.pass('<'); err != nil {
			return 0, err
		}
		b.token = maxToken
		c, err := b.next()
		if err != nil {
			return 0, err
		}
		switch c {
		case '/':
			return endTag, b.pass('>')
		case '?':
			err = b.passText("?>")
		case '!':
			err = b.passDeclaration()
		default:
			if err := b.passAttributes(); err != nil || !b.empty() {
				return startTag, err
			}
			return emptyTag, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// pass passes all up to a byte, and that.
func (b *boundedBytes) pass(end byte) error {
	for {
		c, err := b.next()
		if err != nil || c == end {
			return err
		}
		if c == '\n' {
			b.lines++
		}
	}
}

// passText passes all up to some text, and that.
func (b *boundedBytes) passText(end string) error {
	for tail := make([]byte, len(end)); string(tail) != end; {
		copy(tail, tail[1:])
		c, err := b.next()
		if err != nil {
			return err
		}
		if c == '\n' {
			b.lines++
		}
		tail[len(tail)-1] = c
	}
	return nil
}

// passDeclaration passes what begins with "<!": a comment, or text that is taken as it is.
func (b *boundedBytes) passDeclaration() error {
	c, err := b.next()
	switch {
	case err != nil:
		return err
	case c == '-':
		return b.passText("-->")
	case c == '[':
		return b.passText("]]>")
	}
	return b.pass('>')
}

// passAttributes passes the rest of a start tag. A value may have its end in it.
func (b *boundedBytes) passAttributes() error {
	for {
		c, err := b.next()
		switch {
		case err != nil || c == '>':
			return err
		case c == '"' || c == '\'':
			err = b.pass(c)
		case c == '\n':
			b.lines++
		}
		if err != nil {
			return err
		}
	}
}
