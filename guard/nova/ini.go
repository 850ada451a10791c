package nova

import (
	"fmt"
	"strings"
	"unicode"
)

// The option and the section that it is read from. Both are case-sensitive to oslo.config, and [default] is another
// section.
const (
	option  = "reserved_huge_pages"
	section = "DEFAULT"
)

// SyntaxError is a line that oslo.config rejects, with the whole file. It does not quote the line.
type SyntaxError struct {
	File    string
	Line    int // from 1
	Problem string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s: line %d: %s", e.File, e.Line, e.Problem)
}

// Add reads one more file, of which file is the name and text the content. Files must come in oslo.config's order: see
// [Sources]. An error is a [*SyntaxError]; nothing of that file is added then.
//
// The format is oslo.config's (oslo_config/iniparser.py and cfg.py, ConfigParser): "key = value" or "key: value" from
// the first column, lines that begin with a space or a tab continue the one before, # and ; begin a comment in the
// first column, and quotes around a value go away.
func (c *Config) Add(file, text string) error {
	r := reader{file: file}
	for i, line := range strings.Split(newlines.Replace(text), "\n") {
		r.line = i + 1
		if problem := r.read(strings.TrimRightFunc(line, isSpace)); problem != "" {
			return &SyntaxError{file, r.line, problem}
		}
	}
	c.Values = append(c.Values, r.values...)
	c.paths.add(r.paths)
	return nil
}

// reader reads a file line by line.
type reader struct {
	file    string
	line    int
	section string // "" before the first
	values  []Value
	open    bool // an assignment can be continued
	ours    bool // namely that of the last value
	paths   paths
	path    *string // that of these, nil for none
}

// read reads a line and returns what is wrong with it, "" if nothing.
func (r *reader) read(text string) (problem string) {
	if text == "" {
		r.open = false
		return ""
	}
	if text[0] == ' ' || text[0] == '\t' {
		return r.next(text)
	}
	r.open = false
	switch text[0] {
	case '#', ';':
		return ""
	case '[':
		return r.begin(text)
	}
	return r.assign(text)
}

// next reads a line that continues the one before.
func (r *reader) next(text string) (problem string) {
	if !r.open {
		return "a continuation line without anything before it"
	}
	if r.path != nil {
		*r.path = odd
	}
	if r.ours {
		r.values[len(r.values)-1].Text += "\n" + strings.TrimLeftFunc(text, isSpace)
	}
	return ""
}

// begin reads the beginning of a section.
func (r *reader) begin(text string) (problem string) {
	if !strings.HasSuffix(text, "]") {
		return "a section that does not end with ]"
	}
	r.section = text[1 : len(text)-1]
	if r.section == "" {
		return "a section without a name"
	}
	return ""
}

// assign reads an assignment.
func (r *reader) assign(text string) (problem string) {
	at := strings.IndexAny(text, ":=")
	if at < 0 {
		return "neither a colon nor an equals sign"
	}
	key := trim(text[:at])
	if key == "" {
		return "no name before the equals sign or colon"
	}
	if r.section == "" {
		return "an assignment before the first section"
	}
	r.open, r.ours = true, key == option && r.section == section
	r.path = nil
	if r.section == section {
		r.path = r.paths.of(key)
	}
	if r.path != nil {
		*r.path = plain(unquote(trim(text[at+1:])))
	}
	if r.ours {
		r.values = append(r.values, Value{unquote(trim(text[at+1:])), r.file, r.line})
	}
	return ""
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

// isSpace is Python's str.isspace, which has the four information separators of ASCII besides.
func isSpace(r rune) bool { return unicode.IsSpace(r) || '\x1c' <= r && r <= '\x1f' }
