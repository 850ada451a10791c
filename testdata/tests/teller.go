package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// printing is held while a line is printed.
var printing sync.Mutex

// A teller prints what a tier says, line by line, each after the tier's name.
type teller struct {
	tier string
	rest []byte // of a line that has not come to its end
}

func (t *teller) Write(text []byte) (int, error) {
	t.rest = append(t.rest, text...)
	for {
		line, rest, whole := bytes.Cut(t.rest, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		t.print(line)
		t.rest = rest
	}
}

// flush prints the rest.
func (t *teller) flush() {
	if len(t.rest) > 0 {
		t.print(t.rest)
		t.rest = nil
	}
}

func (t *teller) print(line []byte) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Fprintf(os.Stdout, "%-11s | %s\n", t.tier, line)
}
