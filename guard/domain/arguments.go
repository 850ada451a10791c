package domain

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"libvirt.org/go/libvirtxml"

	"hugeguard/guard"
)

// What a domain has QEMU told beside libvirt (qemu:commandline) can put memory on huge pages, too: as objects of its
// own, and by -mem-path.

// commandline is qemu:commandline.
type commandline struct {
	Args []struct {
		Value string `xml:"value,attr"`
	} `xml:"http://libvirt.org/schemas/domain/qemu/1.0 arg"`
}

// arguments is what arguments say of memory.
type arguments struct {
	objects  []guard.Backend
	path     string // of -mem-path
	prealloc bool   // -mem-prealloc
}

// mostObjects is far above what a guest has of memory.
const mostObjects = 256

// read returns what is said of memory among arguments of QEMU's, as far as it can be about huge pages.
func (c *commandline) read() (a arguments) {
	if c == nil {
		return a
	}
	for i := 0; i < len(c.Args); i++ {
		option := argument(c.Args[i].Value)
		if option == "mem-prealloc" {
			a.prealloc = true
			continue
		}
		if option != "object" && option != "mem-path" || i+1 == len(c.Args) {
			continue
		}
		i++
		value := c.Args[i].Value
		if option == "mem-path" {
			a.path = value
		} else if b, ok := memoryObject(value); ok && len(a.objects) < mostObjects {
			a.objects = append(a.objects, b)
		}
	}
	for i := range a.objects {
		a.objects[i].Lazy = a.objects[i].Lazy && !a.prealloc
	}
	return a
}

// argument returns an option without its dashes, of which QEMU takes one or two (lookup_opt); "" for what is none.
func argument(text string) string {
	name, ok := strings.CutPrefix(text, "-")
	if !ok {
		return ""
	}
	return strings.TrimPrefix(name, "-")
}

// property is one of an object's. Its value is as QEMU takes it on the command line.
type property struct{ name, value string }

// memoryObject returns the backend that -object makes of a text, in either syntax, if it can be one of huge pages.
func memoryObject(text string) (b guard.Backend, ok bool) {
	properties, whole := options(text)
	if strings.HasPrefix(text, "{") {
		properties, whole = jsonProperties(text)
	}
	b = guard.Backend{Own: true, Lazy: true, Global: true, Unsure: !whole, From: "qemu:commandline", Policy: guard.PolicyDefault, Strength: guard.Soft}
	hugetlb, file := false, false
	for _, p := range properties {
		switch p.name {
		case "qom-type":
			file, b.Memfd = p.value == "memory-backend-file", p.value == "memory-backend-memfd"
		case "hugetlb":
			hugetlb = isOn(p.value)
		default:
			if !set(&b, p) {
				b.Unsure = true
			}
		}
	}
	if b.Policy == guard.PolicyBind {
		b.Strength = guard.Hard
	}
	if (b.HostNodes == nil) != (b.Policy == guard.PolicyDefault) || b.Bytes == 0 {
		b.Unsure = true // QEMU refuses it, or it is another release's
	}
	b.ExactBytes = b.Bytes
	if !file {
		b.Path = ""
	}
	return b, file && b.Path != "" || b.Memfd && hugetlb
}

// set sets a backend's property, and reports whether its value is understood.
func set(b *guard.Backend, p property) (ok bool) {
	switch p.name {
	case "id":
		b.ID = guard.Printable(p.value, 60)
		return true
	case "mem-path":
		b.Path = p.value
		return true
	case "size":
		b.Bytes, ok = size(p.value)
		return ok
	case "hugetlbsize":
		bytes, ok := size(p.value)
		b.PageKiB = bytes / 1024
		return ok
	case "prealloc":
		b.Lazy = !isOn(p.value)
		return true
	case "policy":
		b.Policy = guard.Policy(p.value)
		return p.value == "default" || p.value == "preferred" || p.value == "bind" || p.value == "interleave"
	case "host-nodes":
		nodes, err := parseNodeSet(p.value)
		b.HostNodes = b.HostNodes.Or(nodes)
		return err == nil
	case "reserve", "readonly", "rom", "offset":
		return false // fewer pages may do, or none
	}
	return true
}

// isOn reports whether a value is a boolean that is set (qapi_bool_parse).
func isOn(value string) bool {
	return value == "on" || value == "yes" || value == "true" || value == "y"
}

// options splits an option's value as QEMU does (qemu_opts_parse): by commas, of which two are one of the value. The
// first property may be the value of qom-type alone, and a name alone is a switch. whole says that all is understood.
func options(text string) (list []property, whole bool) {
	for first := true; text != ""; first = false {
		var part string
		part, text = cutOption(text)
		name, value, assigned := strings.Cut(part, "=")
		switch {
		case assigned:
		case first:
			name, value = "qom-type", name
		case strings.HasPrefix(name, "no"):
			name, value = name[2:], "off"
		default:
			value = "on"
		}
		list = append(list, property{name, value})
	}
	return list, true
}

// cutOption returns the text up to the first single comma, and what follows it.
func cutOption(text string) (part, rest string) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == ',' {
			if i+1 == len(text) || text[i+1] != ',' {
				return b.String(), text[i+1:]
			}
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String(), ""
}

// jsonProperties reads an object in JSON. whole says that all is understood.
func jsonProperties(text string) (list []property, whole bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if d.Decode(&object) != nil {
		return nil, false
	}
	whole = true
	for name, value := range object {
		switch value := value.(type) {
		case string:
			list = append(list, property{name, value})
		case bool:
			list = append(list, property{name, map[bool]string{true: "on", false: "off"}[value]})
		case json.Number:
			list = append(list, property{name, value.String()})
		case []any:
			for _, v := range value {
				number, ok := v.(json.Number)
				whole = whole && ok
				list = append(list, property{name, number.String()})
			}
		default:
			whole = false
		}
	}
	return list, whole
}

// size reads a size as QEMU does (qemu_strtosz): in bytes, or with a suffix, which may have a fraction before it.
func size(text string) (bytes uint64, ok bool) {
	number, unit := text, uint64(1)
	if n := len(text); n > 1 {
		if power := strings.IndexByte("bkmgtpe", text[n-1]|0x20); power >= 0 && !strings.HasPrefix(text, "0x") {
			number, unit = text[:n-1], 1<<(10*power)
		}
	}
	whole, err := strconv.ParseUint(number, 0, 64)
	if err == nil && !strings.ContainsAny(number, "_oO") {
		return whole * unit, whole <= math.MaxInt64/unit
	}
	fraction, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "xXeEpP_nNiI+-") || fraction*float64(unit) >= math.MaxInt64 {
		return 0, false
	}
	return uint64(fraction * float64(unit)), true
}

// addOwn adds what QEMU is told of memory beside libvirt.
func (b *builder) addOwn(own arguments) error {
	for _, backend := range own.objects {
		backend.Pinned, backend.PinnedTo = b.pinned()
		b.demand.Backends = append(b.demand.Backends, backend)
	}
	if own.path == "" || len(b.Cells) > 0 || len(b.pages) > 0 || b.Memory == nil {
		return nil // QEMU does not go by it
	}
	kib, err := scale(uint64(b.Memory.Value), b.Memory.Unit)
	if err != nil || kib == 0 {
		return err
	}
	// Newer releases of libvirt make RAM themselves, and QEMU refuses both.
	backend := guard.Backend{ID: b.ramID(), Path: own.path, Own: true, Unsure: true, Lazy: !own.prealloc, Global: true,
		ExactBytes: kib * 1024, Bytes: roundUp(kib, b.ramAlignment()) * 1024,
		From: "-mem-path in qemu:commandline", Policy: guard.PolicyDefault, Strength: guard.Soft}
	b.demand.Backends = append(b.demand.Backends, backend)
	return nil
}

// inFile reports whether libvirt has memory that is not to be on huge pages in a file below memory_backing_dir
// (qemuBuildMemoryBackendProps), shares being that of a cell of its own; sure says that every release has.
func (b *builder) inFile(shares bool) (is, sure bool) {
	mb := b.MemoryBacking
	source := ""
	if mb != nil && mb.MemorySource != nil {
		source = mb.MemorySource.Type
	}
	switch {
	case source == "file":
		return true, true
	case source != "":
		return false, true
	}
	return shares || mb != nil && mb.MemoryAccess != nil && mb.MemoryAccess.Mode != "", false
}

// anyInFile reports whether some of the guest's memory may be in files on hugetlbfs.
func (b *builder) anyInFile() bool {
	is, _ := b.inFile(slices.ContainsFunc(b.Cells, func(c libvirtxml.DomainCell) bool { return c.MemAccess != "" }))
	return is
}

// addInFile adds memory of which libvirt says no page size, if it is in one of these files.
func (b *builder) addInFile(backend guard.Backend, cell int, own guard.NodeSet, ownFrom string, shares bool, kib, aligned uint64) {
	is, sure := b.inFile(shares)
	if !is {
		return
	}
	b.bind(&backend, cell, own, ownFrom)
	mb := b.MemoryBacking
	backend.Path, backend.Unsure = guard.BackingDir, backend.Unsure || !sure
	backend.Lazy = mb == nil || mb.MemoryAllocation == nil || mb.MemoryAllocation.Mode != "immediate"
	b.add(backend, kib, aligned, pageElement{from: "memory_backing_dir in qemu.conf"})
}
