package sysfs

import (
	"bytes"
	"fmt"
)

// What no copy of a host's files can tell is in files that this package makes: FILE.unsure, MOUNT.statfs, MOUNT.age,
// PATH.leads, and the files of huge pages of a mount and of a process.

// Sure asks the running host what no copy of /name can tell of it. A captured host answers yes, unless it has a file
// /name.unsure.
func (f FS) Sure(name string, ask func() bool) bool {
	unsure := name + ".unsure"
	if !f.Live() {
		return !f.Exists(unsure)
	}
	sure := ask()
	if sure {
		f.record(unsure, Entry{Gone: true}, nil)
	} else {
		f.record(unsure, Entry{Data: []byte{}, Made: true}, nil)
	}
	return sure
}

// readMade reads a file that this package made.
func (f FS) readMade(name string, limit int) ([]byte, error) {
	unrecorded := f
	unrecorded.recorder = nil
	data, err := unrecorded.ReadFile(name, limit)
	f.record(name, Entry{Data: data, Made: true}, err)
	return data, err
}

// others begins the last line of a list of files that is not complete, and the reason follows.
const others = "and others: "

// recordFiles records files of huge pages as readFiles reads them.
func (f FS) recordFiles(name string, files []File, err error) {
	if f.recorder == nil {
		return
	}
	var text bytes.Buffer
	for _, file := range files {
		fmt.Fprintln(&text, file)
	}
	if len(files) > 0 && err != nil {
		fmt.Fprintf(&text, "%s%v\n", others, err)
		err = nil
	}
	f.record(name, Entry{Data: append([]byte{}, text.Bytes()...), Made: true}, err)
}

// capturedLine is more than most lines of captured files have, in bytes.
const capturedLine = 512

// readFiles reads what a captured host has in place of files of huge pages, as [File.String] writes them, one a line.
func (f FS) readFiles(name string) ([]File, error) {
	text, err := f.readMade(name, maxFiles*capturedLine)
	if err != nil {
		return nil, err
	}
	var files []File
	for line := range lines(string(text)) {
		file, err := parseFile(line)
		if err != nil {
			return files, fmt.Errorf("%s: %w", f.Path(name), err)
		}
		files = append(files, file)
	}
	return files, nil
}
