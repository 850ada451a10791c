// Package wire is what the box's agent and the program that runs the box say to each other: one JSON object a
// line, a request and then its answer, over a virtio serial port.
package wire

// Port is the name of the serial port: /dev/virtio-ports/NAME inside the box.
const Port = "hugeguard.numabox"

// A Request asks for one thing: whichever field is set.
type Request struct {
	Run     *Command `json:",omitempty"` // run it to its end
	Start   *Command `json:",omitempty"` // start it, and answer when it has printed its first line
	Stop    int      `json:",omitempty"` // kill a process that Start started, and wait for its end
	Read    []string `json:",omitempty"` // the contents of all files that match these patterns
	Write   []File   `json:",omitempty"` // write these, in order
	Pool    *Pool    `json:",omitempty"` // give a pool of huge pages that many
	Capture bool     `json:",omitempty"` // what hugeguard capture takes
}

// A Command is a program with its arguments.
type Command struct {
	Args    []string
	Stdin   string
	Seconds float64 // after which it is killed
}

// A Pool is how many pages of a size a node should have: Dir has its counters.
type Pool struct {
	Dir   string
	Pages int
}

// A File is a file of the box and its content.
type File struct {
	Path, Data string
}

// A Reply answers a request.
type Reply struct {
	Error  string            `json:",omitempty"` // why it could not be done; a program that failed is not an error
	Stdout string            `json:",omitempty"`
	Stderr string            `json:",omitempty"`
	Exit   int               `json:",omitempty"`
	PID    int               `json:",omitempty"`
	Files  map[string]string `json:",omitempty"` // path to content
	Packed []byte            `json:",omitempty"` // a gzipped tar archive, paths without the leading slash
}
