package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"hugeguard/install"
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
		{errors.Join(fmt.Errorf("%w: why", install.ErrNotTold), errors.New("and more")), 4},
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
	status := Run([]string{"uninstall", "--root", "/nonexistent", "--dry-run"}, nil, panicker{}, &errs)
	if status != exitError || strings.Count(errs.String(), "\n") != 1 || !strings.HasPrefix(errs.String(), "hugeguard: internal error: boom") {
		t.Errorf("status %d, stdout %q, stderr %q", status, &out, &errs)
	}
}

type panicker struct{}

func (panicker) Write([]byte) (int, error) { panic("boom\nboom") }
