package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hugeguard/install/place"
)

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("any"), 1},
		{fmt.Errorf("no such option: %w", usageError{errors.New("any")}), 2},
		{errRefused, 3},
		{errNotLive, 4},
		{errors.Join(fmt.Errorf("%w: why", place.ErrNotTold), errors.New("and more")), 4},
	} {
		if got := exitStatus(c.err); got != c.want {
			t.Errorf("exitStatus(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"open /a: no such file":    "open /a: no such file",
		"one\ntwo\n":               "one; two",
		"x\x1b[31mred\r\x00\u202e": `x\x1b[31mred\r\x00\u202e`,
		"Gäste 客":                  "Gäste 客",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("oneLine(%q) = %q, want %q", in, got, want)
		}
	}
}

// A fault of ours is a line and a status, not a stack trace.
func TestPanic(t *testing.T) {
	var out, errs bytes.Buffer
	status := Run(context.Background(), []string{"uninstall", "--root", "/nonexistent", "--dry-run"}, nil, panicker{}, &errs)
	if status != exitError || strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "hugeguard: internal error: boom") {
		t.Errorf("status %d, stdout %q, stderr %q", status, &out, &errs)
	}
}

type panicker struct{}

func (panicker) Write([]byte) (int, error) { panic("boom\nboom") }

// The help of each command has examples, which it would take, and says what its exit statuses mean.
func TestHelp(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Name() == "completion" || c.Name() == "help" {
			continue
		}
		var out, errs bytes.Buffer
		status := Run(context.Background(), []string{c.Name(), "--help"}, nil, &out, &errs)
		text := out.String()
		if status != exitOK || errs.Len() > 0 || !strings.Contains(text, "Exit status: 0 ") || !strings.Contains(text, "\nExamples:\n  ") {
			t.Errorf("%s: status %d, stderr %q:\n%s", c.Name(), status, &errs, text)
		}
		for _, line := range strings.Split(text, "\n") {
			if len(line) > 120 {
				t.Errorf("%s: a line of %d columns: %s", c.Name(), len(line), line)
			}
		}
		for _, line := range strings.Split(c.Example, "\n") {
			_, line, ok := strings.Cut(line, "hugeguard ")
			line, _, _ = strings.Cut(line, "#")
			line, _, _ = strings.Cut(line, "|")
			about, rest, err := newRoot().Find(strings.Fields(line))
			if !ok || err != nil || about.Name() != c.Name() {
				t.Errorf("%s: an example of something else: %s", c.Name(), line)
			} else if err := cmp.Or(about.ParseFlags(rest), about.ValidateArgs(about.Flags().Args())); err != nil {
				t.Errorf("%s: %s: %v", c.Name(), line, err)
			}
		}
	}
}
