package main

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of the documentation")

// TestPlayed: the documentation has the tables of what was played, of all scenarios that there are, and no cell of them
// is wrong.
func TestPlayed(t *testing.T) {
	var names []string
	all := map[string]*played{}
	for _, suite := range suites {
		text, err := os.ReadFile("played/" + suite.name + ".tsv")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePlayed(string(text))
		if err != nil {
			t.Fatalf("%s: %v", suite.name, err)
		}
		if string(p.text()) != string(text) {
			t.Errorf("%s: the file is not what it says", suite.name)
		}
		for _, class := range classes {
			n := p.count(class.is)
			for i, decision := range decisions {
				for _, bad := range class.bad {
					if bad == decision && n[i] > 0 {
						t.Errorf("%s: %d %s, and the guard said %s", suite.name, n[i], class.name, decision)
					}
				}
			}
		}
		names, all[suite.name] = append(names, suite.name), p
	}
	const page, begins, ends = "../../install/doc/played.md", "<!-- played -->\n", "<!-- /played -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begins)
	_, after, closed := strings.Cut(rest, ends)
	if !ok || !closed {
		t.Fatalf("%s has no %q and %q", page, begins, ends)
	}
	want := before + begins + tables(names, all) + ends + after
	switch {
	case *update:
		err = os.WriteFile(page, []byte(want), 0o644)
	case want != string(text):
		t.Errorf("%s has other tables; write them with -update", page)
	}
	if err != nil {
		t.Fatal(err)
	}
}
