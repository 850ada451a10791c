package domain

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestDomainBounds: what libvirt cannot have given is not read to its end, and what it can is judged.
func TestDomainBounds(t *testing.T) {
	text, err := os.ReadFile("../../testdata/domains/page-2m-strict.xml")
	if err != nil {
		t.Fatal(err)
	}
	with := func(more string) string {
		return strings.Replace(string(text), "<memoryBacking>", more+"<memoryBacking>", 1)
	}
	nested := func(depth int) string { return strings.Repeat("<a>", depth) + strings.Repeat("</a>", depth) }
	plain, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		xml  string
		want error
	}{
		"as deep as can be":       {with(nested(maxDepth - 1)), nil},
		"deeper":                  {with(nested(maxDepth)), errXMLTooDeep},
		"much metadata":           {with("<metadata><x>" + strings.Repeat("<a/>", maxElements) + "</x></metadata>"), nil},
		"metadata of metadata":    {with("<metadata><metadata>" + strings.Repeat("<a/>", maxElements) + "</metadata><memory>1</memory></metadata>"), nil},
		"deep metadata":           {with("<metadata>" + nested(maxDepth) + "</metadata>"), errXMLTooDeep},
		"metadata elsewhere":      {with("<x><metadata>" + strings.Repeat("<a/>", maxElements) + "</metadata></x>"), errXMLTooLarge},
		"many elements":           {with(strings.Repeat("<a/>", maxElements)), errXMLTooLarge},
		"a long text":             {with("<title>" + strings.Repeat("x", maxToken-100) + "</title>"), nil},
		"a longer one":            {with("<title>" + strings.Repeat("x", maxToken) + "</title>"), errXMLTooLarge},
		"metadata without an end": {with("<metadata>"), io.ErrUnexpectedEOF},
	} {
		d, err := Parse([]byte(test.xml))
		switch {
		case test.want == io.ErrUnexpectedEOF:
			if err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.Is(err, test.want):
			t.Errorf("%s: %v, want %v", name, err, test.want)
		case err == nil && (len(d.Backends) != 1 || d.Backends[0].Bytes != plain.Backends[0].Bytes):
			t.Errorf("%s: %+v", name, d.Backends)
		}
	}
	// As if nearly all that may be read had been, up to the end of the domain or a byte before it.
	for left, want := range map[int]error{len(text): nil, len(text) - 2: errXMLTooLarge} {
		stream := newDomainStream(bytes.NewReader(text))
		stream.bytes.all -= maxXMLBytes - left
		if err := xml.NewTokenDecoder(stream).Decode(new(domainXML)); !errors.Is(err, want) {
			t.Errorf("%d of %d bytes left: %v, want %v", left, len(text), err, want)
		}
	}
}

// TestLeftOut: whatever is in an element of no use, what follows is read, and an error names its line.
func TestLeftOut(t *testing.T) {
	for name, out := range map[string]string{
		"nothing":             "<x></x>",
		"an element":          "<x a='1'><memory unit='KiB'>1</memory></x>",
		"its own name":        "<x><x/><x><x></x></x></x>",
		"empty":               "<x/><x a='>'/><x a=\"/>\" b='/'></x>",
		"ends in values":      "<x><y a='</x>' b=\"<memory>'\"\n/><y a='/'></y></x>",
		"a comment":           "<x><!-- </x> -- > <memory>1</memory>\n ---></x>",
		"text as it is":       "<x><![CDATA[</x><memory>1</memory>]]]></x>",
		"an instruction":      "<x><?y </x> ?\n?></x>",
		"text, and an entity": "<x>\n\n&lt;/x&gt; > &amp;</x>",
		"a device":            "<devices><disk><source file='/a>b'/></disk></devices>",
	} {
		xml := "<domain><name>g</name>" + out + "<memory unit='MiB'>4</memory><memoryBacking><hugepages/></memoryBacking><os><type>hvm</type></os></domain>"
		d, err := Parse([]byte(xml))
		if err != nil || len(d.Backends) != 1 || d.Backends[0].Bytes != 4<<20 {
			t.Errorf("%s: %+v, %v", name, d.Backends, err)
		}
		broken := "<domain>" + out + "\n<name =></domain>"
		want := fmt.Sprintf("line %d:", 2+strings.Count(out, "\n"))
		if _, err := Parse([]byte(broken)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		for end := range out {
			if _, err := Parse([]byte("<domain>" + out[:end])); err == nil {
				t.Errorf("%s: it ends in %q, and is read", name, out[:end])
			}
		}
	}
}

// TestUsefulElements: what domainXML reads passes, and nothing else.
func TestUsefulElements(t *testing.T) {
	var inDomain, inDevices []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[domainXML]()) {
		tag := field.Tag.Get("xml")
		first, rest, _ := strings.Cut(tag[strings.LastIndex(tag, " ")+1:], ">")
		switch {
		case field.Name == "XMLName", strings.HasSuffix(tag, ",attr"):
			continue // of the domain itself
		case first == "devices":
			inDevices = append(inDevices, rest)
		}
		if !slices.Contains(inDomain, first) {
			inDomain = append(inDomain, first)
		}
	}
	if diff := cmp.Diff(inDomain, sections, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(inDevices, devices, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
}
