package guard

import (
	"bufio"
	"encoding/xml"
	"errors"
	"io"
)

// What the XML of a domain can have, so that reading any takes little memory.
// libvirt passes no string above 4 MiB through its API (REMOTE_STRING_MAX in
// remote_protocol.x), and its parser takes no more than 256 levels
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

// domainStream gives the tokens of a domain's XML one by one, without its
// metadata, which is anybody's and may be most of it.
type domainStream struct {
	bytes    boundedBytes
	raw      *xml.Decoder
	depth    int
	elements int
}

func newDomainStream(in io.Reader) *domainStream {
	s := &domainStream{bytes: boundedBytes{Reader: bufio.NewReader(in), all: maxXMLBytes}}
	s.raw = xml.NewDecoder(&s.bytes)
	return s
}

// Token is the next token; the caller matches starts with ends.
func (s *domainStream) Token() (xml.Token, error) {
	for skipped := false; ; {
		s.bytes.token = maxToken
		token, err := s.raw.RawToken()
		if err != nil {
			return nil, err
		}
		within := skipped
		switch t := token.(type) {
		case xml.StartElement:
			s.depth++
			if s.depth == 2 && t.Name.Local == "metadata" {
				skipped, within = true, true
			}
			if s.depth > maxDepth {
				return nil, errXMLTooDeep
			}
			if !within {
				s.elements++
			}
			if s.elements > maxElements {
				return nil, errXMLTooLarge
			}
		case xml.EndElement:
			s.depth--
			skipped = skipped && s.depth >= 2
		}
		if !within {
			return token, nil
		}
	}
}

// boundedBytes are the bytes of a reader, so many for one token and for all.
type boundedBytes struct {
	*bufio.Reader
	token, all int // that are left
}

// ReadByte is what a decoder reads by.
func (b *boundedBytes) ReadByte() (byte, error) {
	if b.token--; b.token < 0 {
		return 0, errXMLTooLarge
	}
	if b.all--; b.all < 0 {
		return 0, errXMLTooLarge
	}
	return b.Reader.ReadByte()
}
