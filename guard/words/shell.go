package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
)

// ShellWord returns a word of a POSIX shell's command that means text: a name, or a path. It has no character that
// could act on a terminal or end the line. It is "" for no text, and where no such word exists: what printf prints within
// $() loses its last newlines.
func ShellWord(text string) string {
	switch {
	case strings.HasSuffix(text, "\n"):
		return ""
	case strings.ContainsFunc(text, isOdd):
		var format strings.Builder
		for i := range len(text) {
			switch c := text[i]; {
			case c == '%' || c == '\\':
				format.Write([]byte{c, c})
			case c < ' ' || c > '~':
				fmt.Fprintf(&format, `\%03o`, c)
			default:
				format.WriteByte(c)
			}
		}
		return `"$(printf ` + quoted(format.String()) + `)"`
	case strings.ContainsFunc(text, isSpecial):
		return quoted(text)
	}
	return text
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// isOdd reports whether a terminal may not show a character, or a byte that is no UTF-8.
func isOdd(r rune) bool {
	return r != '\\' && guard.Printable(string(r), 9) != string(r) || r == '\uFFFD'
}

// isSpecial reports whether a character may mean something to a shell.
func isSpecial(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	return !plain
}

// isUUID reports whether a text has the form in which libvirt writes UUIDs, or has at least nothing else in it.
func isUUID(text string) bool {
	return len(text) == 36 && strings.Trim(text, "0123456789abcdef-") == "" && text[0] != '-'
}
