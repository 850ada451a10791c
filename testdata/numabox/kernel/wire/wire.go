// Package wire is what the host and the machine say to each other: options in
// the initramfs, and one JSON object a line on the second serial port.
package wire

import "encoding/json"

// OptionsFile is where the machine finds its [Options].
const OptionsFile = "/options.json"

// Options says what the machine is to play.
type Options struct {
	Cases   int    `json:"cases"`
	Seed    uint64 `json:"seed"`
	Only    []int  `json:"only,omitempty"` // numbers of cases; all when empty
	Seconds int    `json:"seconds"`        // when to stop, finished or not
	Shrink  int    `json:"shrink"`         // how many disagreements are made minimal
	Export  bool   `json:"export"`
	Verbose bool   `json:"verbose"`
	Suite   string `json:"suite"`
	// Scene is a case to play instead of random ones, as a disagreement
	// prints it.
	Scene json.RawMessage `json:"scene,omitempty"`
}

// Message is one line of the machine's. One of the fields is set.
type Message struct {
	Hello    string   `json:"hello,omitempty"`
	Log      string   `json:"log,omitempty"`
	Progress *Table   `json:"progress,omitempty"`
	Bad      *Bad     `json:"bad,omitempty"`
	Fixture  *Fixture `json:"fixture,omitempty"`
	Done     *Table   `json:"done,omitempty"`
	Broken   string   `json:"broken,omitempty"` // the machine itself is at fault
}

// Table is the outcome so far.
type Table struct {
	Cases    int     `json:"cases"`
	Skipped  int     `json:"skipped"` // cases whose state could not be held still
	Launches int     `json:"launches"`
	Bad      int     `json:"bad"`
	Seconds  float64 `json:"seconds"`
	// Verdicts counts cases by decision and outcome: "allow started",
	// "refuse failed", "warn both" and so on.
	Verdicts map[string]int `json:"verdicts"`
	// Known counts launches of one kind in the same way, by the decision of who
	// knows the releases.
	Known map[string]int `json:"known"`
	// Warnings counts the warned cases by code of finding and outcome.
	Warnings map[string]int `json:"warnings"`
	// Failures counts failed launches by step and error.
	Failures map[string]int `json:"failures"`
}

// Bad is a disagreement between Judge and the kernel.
type Bad struct {
	Case int    `json:"case"`
	Kind string `json:"kind"`
	Text string `json:"text"` // the minimal reproduction
}

// Fixture is a case as a captured host.
type Fixture struct {
	Name  string            `json:"name"`
	Files map[string][]byte `json:"files"`
}
