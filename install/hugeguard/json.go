package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// printJSON prints v on one line that is safe to show on a terminal. < and > stay as they are, since no browser reads
// it.
func printJSON(w io.Writer, v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeUnprintable(strings.TrimSuffix(b.String(), "\n"))+"\n")
	return err
}

// escapeUnprintable escapes, as \uXXXX, what is not printable in JSON: control characters, invisible ones, and those
// that change the direction of text. The encoder leaves most of them as they are, all within strings.
func escapeUnprintable(text string) string {
	isOdd := func(r rune) bool { return !strconv.IsPrint(r) }
	if !strings.ContainsFunc(text, isOdd) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch first, second := utf16.EncodeRune(r); {
		case !isOdd(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\u%04x\u%04x`, first, second)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
