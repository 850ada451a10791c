package nova

import (
	"fmt"
	"strings"
	"unicode"
)

// The option and the section that it is read from. Both are case-sensitive to
// oslo.config, and [default] is another section.
const (
	option  = "reserved_huge_pages"
	section = "DEFAULT"
)

// SyntaxError is a line that oslo.config rejects, with the whole file. It does
// not quote the line.
type SyntaxError struct {
	File    string
	Line    int // from 1
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s: line %d: %s", e.File, e.Line, e.Problem)
}

// Add reads one more file, of which file is the name and text the content.
// Files must come in oslo.config's order: see [Sources]. An error is a
// [*SyntaxError]; nothing of that file is added then.
//
// The format is oslo.config's (oslo_config/iniparser.py and
// cfg.py, ConfigParser): "key = value" or "key: value" from the first column,
// lines that begin with a space or a tab continue the one before, # and ;
// begin a comment in the first column, and quotes around a value go away.
func (c *Config) Add(file, text string) error {
	var values []Value
	var current string // the section, "" before the first
	var value *Value   // where a continuation line belongs if it is our option's
	open := false      // whether an assignment can be continued
	line := 0
	wrong := func(problem string) error { return &SyntaxError{file, line, problem} }
	for i, text := range strings.Split(newlines.Replace(text), "\n") {
		line = i + 1
		text = strings.TrimRightFunc(text, isSpace)
		switch {
		case text == "":
			open = false
			continue
		case text[0] == ' ' || text[0] == '\t':
			if !open {
				return wrong("a continuation line without anything before it")
			}
			if value != nil {
				value.Text += "\n" + strings.TrimLeftFunc(text, isSpace)
			}
			continue
		}
		open = false
		switch text[0] {
		case '#', ';':
			continue
		case '[':
			if !strings.HasSuffix(text, "]") {
				return wrong("a section that does not end with ]")
			}
			if current = text[1 : len(text)-1]; current == "" {
				return wrong("a section without a name")
			}
			continue
		}
		at := strings.IndexAny(text, ":=")
		if at < 0 {
			return wrong("neither a colon nor an equals sign")
		}
		key := trim(text[:at])
		if key == "" {
			return wrong("no name before the equals sign or colon")
		}
		if current == "" {
			return wrong("an assignment before the first section")
		}
		open, value = true, nil
		if key == option && current == section {
			values = append(values, Value{unquote(trim(text[at+1:])), file, line})
			value = &values[len(values)-1]
		}
	}
	c.Values = append(c.Values, values...)
	return nil
}

// newlines makes one of the line ends that Python's text files may have.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// unquote takes away one pair of quotes. A single quotation mark counts as a pair.
func unquote(value string) string {
	if value == "" || value[0] != value[len(value)-1] || value[0] != '"' && value[0] != '\'' {
		return value
	}
	if len(value) == 1 {
		return ""
	}
	return value[1 : len(value)-1]
}

// trim takes away white space as Python's str.strip does.
func trim(s string) string { return strings.TrimFunc(s, isSpace) }

// isSpace is Python's str.isspace, which has the four information separators
// of ASCII besides.
func isSpace(r rune) bool { return unicode.IsSpace(r) || '\x1c' <= r && r <= '\x1f' }
