package place

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"hugeguard/install/daemon"
)

// stateDir holds recordFile, and [counts.File] where metrics are kept.
const (
	stateDir   = "/var/lib/hugeguard"
	recordFile = stateDir + "/install.json"
)

// A record holds what Uninstall and Inspect need and the tree itself does not tell. Whose a file is, is always read
// from the file.
type record struct {
	Layout Layout `json:"layout"`
	// Created are the directories that install made, as names inside the tree. Uninstall looks in it for those of
	// hookDirs and stateDirs: it removes no other, whatever the file says.
	Created []string `json:"created_dirs"`
	// Placed is when the hook first lay in the hook directory; nil when no daemon could see it (--root).
	Placed *daemon.Moment `json:"placed,omitempty"`
	// Told are the daemons that were reloaded since, and those that had seen the hook when another version took its
	// place.
	Told []daemon.Process `json:"told,omitempty"`
}

// readRecord returns the record, or nil without one. An error is one of a file that is there but does not say what it
// should.
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

// told reports whether the record has the daemon among those that have seen the hook.
func (r *record) told(p daemon.Process) bool { return r != nil && slices.ContainsFunc(r.Told, p.Same) }
