package capture

import (
	"fmt"
	"time"

	"hugeguard/install/place"
)

// Options are what a capture has besides what is read below the root.
type Options struct {
	Version string      // of hugeguard
	State   place.State // of the hook
	// Patience is how long to look for the holders of pages.
	Patience time.Duration
}

// Capture is what was taken of a host.
type Capture struct {
	files map[string]file
	// Notes say what is not as complete as it should be.
	Notes []string
}

// file is one entry of the archive.
type file struct {
	dir     bool
	link    string // where a symbolic link leads: a name without a slash
	data    []byte
	changed time.Time // the zero time where it does not matter
}

// About is the file of a capture that says what it is, for people.
const About = "hugeguard-capture.txt"

// Bounds of names.
const (
	maxName  = 4096 // bytes
	maxDepth = 32   // elements
)

// maxXML is more than libvirt's file of a domain has, in bytes.
const maxXML = 32 << 20

func (c *Capture) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}
