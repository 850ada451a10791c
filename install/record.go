package install

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// stateDir holds recordFile, and countsFile where metrics are kept.
const (
	stateDir   = "/var/lib/hugeguard"
	recordFile = stateDir + "/install.json"
)

// A record is what the tree itself cannot tell and uninstall or Inspect needs. It is advice: whose a
// file is, is always read from the file.
type record struct {
	Layout Layout `json:"layout"`
	// Created are the directories that install made, as names inside the tree. Uninstall looks in it for those
	// of hookDirs and stateDirs: it removes no other, whatever the file says.
	Created []string `json:"created_dirs"`
	// Placed is when the hook first lay in the hook directory; nil when no daemon could see it (--root).
	Placed *moment `json:"placed,omitempty"`
	// Told are the daemons that were reloaded since, and those that had seen the hook when another version took
	// its place.
	Told []Process `json:"told,omitempty"`
}

// A moment is a time on the kernel's own clock, which nobody sets: ticks of 10 ms since the
// boot that the id names (/proc/uptime, /proc/sys/kernel/random/boot_id).
type moment struct {
	Boot  string `json:"boot_id"`
	Ticks int64  `json:"ticks"`
}

// before reports whether m is certainly earlier than o: a later boot is, an earlier cannot be met.
func (m moment) before(o moment) bool { return m.Boot != o.Boot || m.Ticks < o.Ticks }

// readRecord returns the record, or nil without one. An error is one of a file that is there but does not say
// what it should.
func (t tree) readRecord() (*record, error) {
	data, err := t.read(recordFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	r := new(record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", t.root+recordFile, err)
	}
	return r, nil
}

func (t tree) writeRecord(r *record) error {
	dir, err := t.dir(stateDir)
	if err != nil {
		return err
	}
	name, err := t.file(recordFile)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if old, err := os.ReadFile(name); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return place(name, dir, data, 0o644)
}
