package reserve

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard/nova"
)

const (
	option  = "reserved_huge_pages"
	section = "[DEFAULT]"
)

// What is written. In a file that others wrote, the lines that no longer count become comments, and hugeguard's stand
// between two others.
const (
	dropInHead = "# Written by hugeguard reserve --write; hugeguard reserve --remove removes it.\n"
	begin      = "# hugeguard reserve --write wrote this; hugeguard reserve --remove removes it"
	end        = "# hugeguard end"
	commented  = "# hugeguard: "
)

// A line is one of Nova's configuration, as oslo.config reads it.
type line struct {
	text    string // with its end, if it has one
	plain   string // without
	section string // the header above it
	option  bool   // it sets the option, or continues it
}

// parse returns the lines of a file that oslo.config accepts.
func parse(name, text string) ([]line, error) {
	var c nova.Config
	if err := c.Add(name, text); err != nil {
		return nil, err
	}
	var lines []line
	header := ""
	for _, text := range split(text) {
		l := line{text: text, plain: strings.TrimRight(text, "\r\n"), section: header}
		if strings.HasPrefix(l.plain, "[") {
			header = strings.TrimSpace(l.plain)
		}
		lines = append(lines, l)
	}
	for _, v := range c.Values {
		for i := range strings.Count(v.Text, "\n") + 1 {
			lines[v.Line-1+i].option = true
		}
	}
	return lines, nil
}

// split returns the lines of a text with their ends, which are those of Python's text files, as [nova.Config] counts.
func split(text string) (lines []string) {
	for text != "" {
		n := strings.IndexAny(text, "\r\n") + 1
		switch {
		case n == 0:
			n = len(text)
		case strings.HasPrefix(text[n-1:], "\r\n"):
			n++
		}
		lines, text = append(lines, text[:n]), text[n:]
	}
	return lines
}

// sets reports whether a file sets the option.
func sets(text string) bool {
	var c nova.Config
	return c.Add("", text) == nil && len(c.Values) > 0
}

// disabled reports whether a line is a setting of the option that became a comment.
func (l line) disabled() bool {
	rest, ok := strings.CutPrefix(l.text, commented)
	return ok && sets(section+"\n"+rest)
}

// others returns what the lines say besides the option and what hugeguard remarks: settings by their sections, and
// comments.
func others(lines []line) (all []string) {
	for _, l := range lines {
		text := strings.TrimSpace(l.plain)
		switch {
		case l.option, text == "", text[0] == '[', text == begin, text == end, text == strings.TrimSpace(dropInHead), strings.HasPrefix(text, commented):
		case text[0] == '#' || text[0] == ';':
			all = append(all, l.plain)
		default:
			all = append(all, l.section+"\n"+l.plain)
		}
	}
	return all
}

// sameOthers reports whether oslo.config accepts both texts, and the lines that are not hugeguard's to change are the
// same in both.
func sameOthers(old, new string) bool {
	was, err := parse("", old)
	if err != nil {
		return false
	}
	is, err := parse("", new)
	return err == nil && slices.Equal(others(was), others(is))
}

// dropIn returns the text of the drop-in with the lines. What others added to it stays. Without lines it is what others
// added, "" if that is nothing. ok says that hugeguard wrote the old one, or that there is none.
func dropIn(old string, wanted []string) (text string, ok bool) {
	const head = dropInHead + section + "\n"
	if old != "" && !strings.HasPrefix(old, head) {
		return "", false
	}
	lines, err := parse("", old)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	for _, l := range lines[min(len(lines), strings.Count(head, "\n")):] {
		if !l.option {
			b.WriteString(l.text)
		}
	}
	added := b.String()
	switch {
	case len(wanted) > 0:
		return head + strings.Join(wanted, "\n") + "\n" + added, true
	case strings.TrimSpace(added) == "":
		return "", true
	}
	return section + "\n" + added, true
}

// inPlace returns a file's text with the lines in place of what it says of the option.
func inPlace(name, text string, wanted []string) (string, error) {
	text, err := restored(name, text)
	if err != nil {
		return "", err
	}
	lines, err := parse(name, text)
	if err != nil {
		return "", err
	}
	for i, l := range lines {
		if l.disabled() || strings.HasPrefix(l.text, commented+" ") || strings.HasPrefix(l.text, commented+"\t") {
			return "", fmt.Errorf("%s: line %d looks like one that hugeguard made a comment: remove it", name, i+1)
		}
	}
	block := begin + "\n" + section + "\n" + strings.Join(wanted, "\n") + "\n" + end + "\n"
	var b strings.Builder
	written := false
	for _, l := range lines {
		if l.option && !written {
			b.WriteString(block)
			written = true
		}
		if l.option {
			b.WriteString(commented)
		}
		b.WriteString(l.text)
		if l.text == l.plain {
			b.WriteByte('\n') // the last line may lack its end
		}
	}
	if !written {
		b.WriteString(block)
	}
	return b.String(), nil
}

// restored undoes inPlace. Lines that others added meanwhile stay, and mean the same.
func restored(name, text string) (string, error) {
	if !strings.Contains(text, begin) && !strings.HasPrefix(text, dropInHead) {
		return text, nil
	}
	lines, err := parse(name, text)
	if err != nil {
		return "", err
	}
	for _, keepHeader := range []bool{false, true} {
		back, err := undo(lines, keepHeader)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if sameOthers(text, back) {
			return back, nil
		}
	}
	return "", fmt.Errorf("%s: without hugeguard's lines other lines would mean something else: remove them by hand", name)
}

// undo takes away what inPlace wrote. keepHeader keeps the block's section, which lines that others added may need.
func undo(lines []line, keepHeader bool) (string, error) {
	var b strings.Builder
	within, continues := false, false // the block; a setting of the option
	for _, l := range lines {
		rest, remark := strings.CutPrefix(l.text, commented)
		again := remark && (l.disabled() || continues && strings.TrimLeft(rest, " \t") != rest)
		switch {
		case l.plain == begin:
			within = true
		case l.plain == end && within:
			within = false
		case within && (l.option || l.plain == section && !keepHeader):
		case again:
			b.WriteString(rest)
		default:
			b.WriteString(l.text)
		}
		continues = again
	}
	if within {
		return "", errors.New("the line \"" + end + "\" is missing: put it after the last of hugeguard's lines")
	}
	return b.String(), nil
}
