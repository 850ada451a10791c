package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// Nothing in JSON acts on a terminal, and a reader gets what was put in.
func FuzzPrintJSON(f *testing.F) {
	for _, text := range []string{"", "instance-00000003", "<&>", "a\x00\x1b[2J\x7f\u0085\u009b", "\u202eevil\u202c\u2066\u2069\u200e\u200f\u061c",
		"\u2028\u2029\ufeff\u00ad", "\U000e0001\U000e007f", "näme 名 🙂", "\xff\xfe"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var b strings.Builder
		if err := printJSON(&b, map[string]string{text: text}); err != nil {
			t.Fatal(err)
		}
		line, ok := strings.CutSuffix(b.String(), "\n")
		if i := strings.IndexFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }); !ok || i >= 0 {
			t.Errorf("%q is printed as %q", text, line)
		}
		var back map[string]any
		if err := json.Unmarshal([]byte(line), &back); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if utf8.ValidString(text) && back[text] != text {
			t.Errorf("%q is read back as %q", text, back)
		}
		if !strings.HasPrefix(line, `{"schema":1,`) {
			t.Errorf("no version is first: %s", line)
		}
	})
}
