package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// schemaVersion is the version of what the commands print as JSON, the key "schema" of each object. Keys may be added to
// a version. It changes when one is taken away, or means something else. The schema itself is hugeguard.schema.json in
// install/doc, which TestDocSchema writes.
const schemaVersion = 1

// printJSON prints v, a struct, as an object on one line that is safe to show on a terminal.
func printJSON(w io.Writer, v any) error {
	text, err := object(v)
	if err == nil {
		_, err = io.WriteString(w, text+"\n")
	}
	return err
}

// printJSONList prints these objects as an array on one line.
func printJSONList[T any](w io.Writer, list []T) error {
	var objects []string
	for _, v := range list {
		text, err := object(v)
		if err != nil {
			return err
		}
		objects = append(objects, text)
	}
	_, err := io.WriteString(w, "["+strings.Join(objects, ",")+"]\n")
	return err
}

// object returns v, which has at least one key, as an object that begins with the schema's version. < and > stay as they
// are, since no browser reads it.
func object(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	text, ok := strings.CutPrefix(strings.TrimSuffix(b.String(), "\n"), "{")
	if !ok || text == "}" {
		return "", fmt.Errorf("internal error: %T is no object with keys", v)
	}
	return fmt.Sprintf(`{"schema":%d,`, schemaVersion) + escapeUnprintable(text), nil
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
