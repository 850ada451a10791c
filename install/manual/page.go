package manual

import (
	"fmt"
	"strings"
	"time"
)

// A Release is what the foot of a page shows.
type Release struct {
	Version string
	Date    time.Time
}

// A page is a manual page in the macros of man(7).
type page struct{ strings.Builder }

func newPage(title string, section int, r Release) *page {
	p := new(page)
	p.line(fmt.Sprintf(`.TH %s %d "%s" "hugeguard %s" "hugeguard"`, title, section, r.Date.UTC().Format(time.DateOnly), escape(r.Version)))
	return p
}

// line adds a line of roff.
func (p *page) line(s string) { p.WriteString(s + "\n") }

func (p *page) section(name string) { p.line(".SH " + name) }

// item adds a tagged paragraph. The tag is roff, the text is not.
func (p *page) item(tag, text string) {
	p.line(".TP")
	p.line(tag)
	p.text(text)
}

// text adds paragraphs that are separated by empty lines. Indented lines stay as they are.
func (p *page) text(s string) {
	const (
		nothing = iota
		filled
		verbatim
		gap
	)
	at := nothing // what came last
	var words []string
	end := func() {
		switch at {
		case filled:
			for _, line := range fold(words, 78) {
				p.line(escape(line))
			}
			words = nil
		case verbatim:
			p.line(".EE")
		}
	}
	for _, line := range strings.Split(strings.Trim(s, "\n"), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			if at != gap {
				end()
				p.line(".PP")
			}
			at = gap
		case strings.HasPrefix(line, " "):
			if at != verbatim {
				end()
				if at == filled {
					p.line(".PP")
				}
				p.line(".EX")
			}
			p.line(escape(line))
			at = verbatim
		default:
			if at != filled {
				end()
			}
			words = append(words, strings.Fields(line)...)
			at = filled
		}
	}
	end()
}

// escape returns s as roff: no request at the start of a line, and hyphens that can be copied to a shell.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func bold(s string) string   { return `\fB` + escape(s) + `\fR` }
func italic(s string) string { return `\fI` + escape(s) + `\fR` }

// fold joins words to lines of at most width bytes.
func fold(words []string, width int) []string {
	var lines []string
	for _, word := range words {
		if last := len(lines) - 1; last >= 0 && len(lines[last])+1+len(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}
