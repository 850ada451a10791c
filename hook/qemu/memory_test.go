//go:build !race

// The race detector takes memory of its own, and finds nothing in the programs that are measured here.

package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"hugeguard/hook"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
)

// TestMemoryIsBounded: whatever the program is given to read, it takes little memory, and it ends.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	root, program := confined(t)
	domain := func(middle ...io.Reader) io.Reader {
		const start = "<domain><name>x</name><memory unit='MiB'>64</memory><memoryBacking><hugepages/></memoryBacking>"
		return io.MultiReader(strings.NewReader(start), io.MultiReader(middle...), strings.NewReader("</domain>"))
	}
	around := func(start string, middle io.Reader, end string) io.Reader {
		return domain(strings.NewReader(start), middle, strings.NewReader(end))
	}
	const mib = 1 << 20
	inputs := map[string]io.Reader{
		"nothing":              strings.NewReader(""),
		"a name of 1 MB":       around("<name>", many(mib, "x"), "</name>"),
		"a title of 30 MiB":    around("<title>", many(30*mib, "x"), "</title>"),
		"30 MiB and no XML":    many(30*mib, "x"),
		"30 MiB of blanks":     many(30*mib, " "),
		"30 MiB of elements":   domain(many(30*mib/10, "<a>bc</a>\n")),
		"30 MiB of metadata":   around("<metadata>", many(30*mib/10, "<a>bc</a>\n"), "</metadata>"),
		"without an end":       many(1<<40, "<domain>"),
		"zeros without an end": many(1<<40, "\x00"),
		"attributes":           around("<memory", many(mib*3/10, " a=''"), "/>"),
		"other attributes":     around("<memory", &numbered{format: " a%d='b'", n: 100_000}, "/>"),
		"namespaces":           around("<memory", &numbered{format: " xmlns:a%d='b'", n: 100_000}, "/>"),
		"nesting":              many(mib, "<domain>"),
		"marks":                around("<metadata>", many(mib, "<a:exempt xmlns:a='urn:hugeguard:1'/>"), "</metadata>"),
		"prefixes of marks":    around("<metadata", &numbered{format: " xmlns:a%d='urn:hugeguard:1'", n: 40_000}, "><a39999:exempt/></metadata>"),
		"nesting in metadata":  around("<metadata>", many(mib, "<a>"), "</metadata>"),
		"an attribute":         around("<memory unit='", many(30*mib, "x"), "'/>"),
		"a comment":            around("<!--", many(30*mib, "x"), "-->"),
		"a CDATA section":      around("<![CDATA[", many(30*mib, "x"), "]]>"),
		"an instruction":       around("<?x ", many(30*mib, "x"), "?>"),
		"a DTD":                io.MultiReader(strings.NewReader("<!DOCTYPE d ["), many(mib, "<!ENTITY a '&b;&b;&b;&b;&b;'>"), strings.NewReader("]><domain/>")),
		"entities":             io.MultiReader(strings.NewReader("<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>]><domain><name>"), many(mib, "&a;"), strings.NewReader("</name></domain>")),
		"character entities":   around("<name>", many(mib, "&#x10ffff;"), "</name>"),
		"UTF-16":               many(10*mib, "\xff\xfe<\x00d\x00"),
		"Latin-1":              io.MultiReader(strings.NewReader("<?xml version='1.0' encoding='ISO-8859-1'?><domain><name>"), many(mib, "\xe4"), strings.NewReader("</name></domain>")),
		"cells":                around("<cpu><numa>", many(49_000, "<cell memory='1' unit='GiB'/>"), "</numa></cpu>"),
		"more cells":           around("<cpu><numa>", many(mib, "<cell memory='1' unit='GiB'/>"), "</numa></cpu>"),
		"cells of no size":     around("<cpu><numa>", many(49_000, "<cell/>"), "</numa></cpu>"),
		"distances":            around("<cpu><numa><cell><distances>", many(49_000, "<sibling id='1' value='20'/>"), "</distances></cell></numa></cpu>"),
		"memory devices":       around("<devices>", many(15_000, "<memory model='dimm'><target><size>2048</size></target></memory>"), "</devices>"),
		"empty memory devices": around("<devices>", many(49_000, "<memory model='dimm'/>"), "</devices>"),
		"interfaces":           around("<devices>", many(49_000, "<interface type='vhostuser'/>"), "</devices>"),
		"pages":                around("<memoryBacking><hugepages>", many(49_000, "<page size='2048' nodeset='0-16383'/>"), "</hugepages></memoryBacking>"),
		"sets of nodes":        around("<numatune>", &numbered{format: "<memnode cellid='%d' mode='strict' nodeset='0-16383'/>", n: 49_000}, "</numatune>"),
		"a set of nodes":       around("<numatune><memory mode='strict' nodeset='", many(mib/4, "0-9,"), "0'/></numatune>"),
		"sets of devices":      around("<devices>", many(10_000, "<memory model='dimm'><source><nodemask>0-16383</nodemask></source><target><size>2048</size></target></memory>"), "</devices>"),
	}
	names := slices.Sorted(maps.Keys(inputs))
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			hooktest.Bounded(t, 0, root, inputs[name], program, "x", "prepare", "begin", "-")
		})
	}
}

// TestMemoryIsBoundedInChain: what is kept for a site's hook is not in this program's memory.
func TestMemoryIsBoundedInChain(t *testing.T) {
	t.Parallel()
	program := hooktest.Program(t)
	if err := os.Symlink("/bin/true", program+hook.SiteSuffix); err != nil {
		t.Fatal(err)
	}
	hooktest.Bounded(t, 0, "", many(100<<20, "x"), program, "x", "prepare", "begin", "-")
}

// confined returns the program with the root that it is to run in, so that it sees
// the host of the incident. Who is not root has to run it where it is.
func confined(t *testing.T) (root, program string) {
	program = hooktest.Program(t)
	if os.Geteuid() != 0 {
		return "", program
	}
	h := hooktest.Incident(t)
	h.Write(config.Path, "deadline = 1m\n") // what is read is read to its end
	if err := os.Rename(program, h.Path("qemu")); err != nil {
		t.Fatal(err)
	}
	return h.Path(""), "/qemu"
}

// many is a text n times.
func many(n int, text string) io.Reader {
	at := min(n, 64<<10/len(text)+1) // at a time
	return io.MultiReader(&repeated{text: strings.Repeat(text, at), n: n / at}, strings.NewReader(strings.Repeat(text, n%at)))
}

type repeated struct {
	text string
	n    int
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, io.EOF
	}
	n := copy(p, r.text[r.at:])
	for r.at += n; r.at == len(r.text); {
		if r.at, r.n = 0, r.n-1; r.n == 0 {
			break
		}
		more := copy(p[n:], r.text)
		n, r.at = n+more, more
	}
	return n, nil
}

// numbered is a format with the numbers below n.
type numbered struct {
	format string
	n      int
	at     int
	left   string
}

func (r *numbered) Read(p []byte) (int, error) {
	if r.left == "" {
		if r.at == r.n {
			return 0, io.EOF
		}
		r.left = fmt.Sprintf(r.format, r.at)
		r.at++
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}
