package domain

import (
	"bytes"
	"encoding/xml"
	"io"
	"path"
	"slices"

	"hugeguard/guard"
)

// element is one that decides about memory.
type element struct {
	attributes []string // that do; "*" are all
	text       bool     // what stands in it does
}

// elements are those of a domain's XML that domainXML reads, by their paths; "*" are all that lie deeper.
var elements = map[string]element{
	"domain":                                {attributes: []string{"type", "id"}},
	"domain/name":                           {text: true},
	"domain/uuid":                           {text: true},
	"domain/memory":                         {[]string{"unit"}, true},
	"domain/memoryBacking":                  {},
	"domain/memoryBacking/*":                {[]string{"*"}, true},
	"domain/vcpu":                           {attributes: []string{"placement", "cpuset"}},
	"domain/resource":                       {},
	"domain/resource/partition":             {text: true},
	"domain/cputune":                        {},
	"domain/cputune/emulatorpin":            {attributes: []string{"cpuset"}},
	"domain/cputune/vcpupin":                {},
	"domain/cputune/iothreadpin":            {},
	"domain/numatune":                       {},
	"domain/numatune/*":                     {attributes: []string{"*"}},
	"domain/os":                             {},
	"domain/os/type":                        {[]string{"arch", "machine"}, true},
	"domain/cpu":                            {},
	"domain/cpu/numa":                       {},
	"domain/cpu/numa/*":                     {[]string{"*"}, true},
	"domain/devices":                        {},
	"domain/devices/emulator":               {text: true},
	"domain/devices/memory":                 {attributes: []string{"model", "access", "discard"}},
	"domain/devices/memory/alias":           {attributes: []string{"name"}},
	"domain/devices/memory/address":         {attributes: []string{"*"}},
	"domain/devices/memory/target":          {},
	"domain/devices/memory/target/*":        {[]string{"*"}, true},
	"domain/devices/memory/source":          {},
	"domain/devices/memory/source/path":     {text: true},
	"domain/devices/memory/source/pmem":     {},
	"domain/devices/memory/source/pagesize": {[]string{"unit"}, true},
	"domain/devices/memory/source/nodemask": {text: true},
	"domain/devices/interface":              {attributes: []string{"type"}},
	"domain/devices/interface/mtu":          {attributes: []string{"size"}},
}

// elementAt returns what is of use of the element at a path; ok is false where nothing is.
func elementAt(at string) (e element, ok bool) {
	e, ok = elements[at]
	for dir := path.Dir(at); !ok && dir != "."; dir = path.Dir(dir) {
		e, ok = elements[dir+"/*"]
	}
	return e, ok
}

const qemuNamespace = "http://libvirt.org/schemas/domain/qemu/1.0"

// Reduce returns what [Read] makes use of in a domain's XML, or in that of libvirt's status of one: the same demand
// comes of it. There are no passwords in it, no disks, displays and command lines, and of metadata nothing but whose
// they are, and the marks that are meant for hugeguard.
func Reduce(text []byte) ([]byte, error) {
	text, err := Find(text)
	if err != nil {
		return nil, err
	}
	r := reduction{stream: newDomainStream(bytes.NewReader(text))}
	decoder := xml.NewTokenDecoder(r.stream)
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			r.left.WriteByte('\n')
			return r.left.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			r.start(t)
		case xml.CharData:
			if r.skip == 0 && len(r.at) > 0 && r.of.text {
				xml.EscapeText(&r.left, t) // a buffer takes all
			}
		case xml.EndElement:
			r.end(t)
		}
	}
}

// reduction is a domain's XML on its way to what is left of it.
type reduction struct {
	stream *domainStream
	left   bytes.Buffer
	at     []string // the names of the open elements
	of     element  // the innermost
	option string   // of QEMU's, of which the next argument is the value
	skip   int      // so many of them are left out
}

// start takes the start of an element.
func (r *reduction) start(t xml.StartElement) {
	name := t.Name.Local
	of, known := elementAt(path.Join(path.Join(r.at...), name))
	qemus := t.Name.Space == qemuNamespace && slices.Contains(qemuElements, path.Join(append(slices.Clone(r.at), name)...))
	argument, kept := "", true
	if qemus && name == "arg" && r.skip == 0 {
		argument, kept = r.argument(t)
	}
	if r.skip > 0 || !known && !qemus || !kept {
		r.skip++
		return
	}
	r.left.WriteString("<" + name)
	if qemus {
		r.left.WriteString(` xmlns="` + qemuNamespace + `"`)
	}
	if argument != "" {
		r.left.WriteString(` value="`)
		xml.EscapeText(&r.left, []byte(argument))
		r.left.WriteByte('"')
	}
	for _, a := range t.Attr {
		if a.Name.Space == "" && (slices.Contains(of.attributes, a.Name.Local) || slices.Contains(of.attributes, "*")) {
			r.left.WriteString(" " + a.Name.Local + `="`)
			xml.EscapeText(&r.left, []byte(a.Value))
			r.left.WriteByte('"')
		}
	}
	r.left.WriteByte('>')
	r.at, r.of = append(r.at, name), of
}

// qemuElements are those of QEMU's namespace that decide about memory.
var qemuElements = []string{"domain/capabilities", "domain/commandline", "domain/commandline/arg"}

// argument returns what is kept of an argument of QEMU's: what [commandline.read] goes by.
func (r *reduction) argument(t xml.StartElement) (kept string, ok bool) {
	i := slices.IndexFunc(t.Attr, func(a xml.Attr) bool { return a.Name.Space == "" && a.Name.Local == "value" })
	text := ""
	if i >= 0 {
		text = t.Attr[i].Value
	}
	if option := r.option; option != "" {
		r.option = ""
		if option == "mem-path" {
			return text, true
		}
		if _, ok := memoryObject(text); !ok {
			text = "" // another object's secrets
		}
		return text, true
	}
	option := argument(text)
	if option == "object" || option == "mem-path" {
		r.option = option
	}
	return text, r.option != "" || option == "mem-prealloc"
}

// end takes the end of an element.
func (r *reduction) end(t xml.EndElement) {
	if r.skip > 0 {
		r.skip--
		return
	}
	r.at = r.at[:len(r.at)-1]
	if len(r.at) == 0 {
		r.left.WriteString(r.stream.marks.metadata())
	}
	r.left.WriteString("</" + t.Name.Local + ">")
	r.of, _ = elementAt(path.Join(r.at...))
}

// metadata is what is left of a domain's.
func (m marks) metadata() string {
	text := ""
	add := func(element, namespace string) { text += "<" + element + ` xmlns="` + namespace + `"/>` }
	for _, known := range managers {
		if m.manager == known.Manager {
			add("instance", known.namespace)
		}
	}
	if m.exempt {
		add("exempt", guard.Namespace)
	}
	if m.canary {
		add("canary", guard.Namespace)
	}
	if text == "" {
		return ""
	}
	return "<metadata>" + text + "</metadata>"
}
