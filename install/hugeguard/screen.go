package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"
)

// A look is what the output of a command can show.
type look struct {
	// columns is how many fit on a line; 0, without a terminal, for any number.
	columns int
	rows    int  // that fit on the screen; 0 for any number
	unicode bool // else plain ASCII
	colour  bool
	moves   bool // the cursor can be moved
}

// The fewest columns that are believed of a terminal, and the columns of a bar without one.
const (
	fewestColumns = 20
	plainBar      = 40
)

// lookOf returns the look of an output. colour is what the user asks for: auto, always or never.
func lookOf(out io.Writer, colour string) (look, error) {
	l := look{unicode: utf8Locale() && runewidth.StringWidth("█") == 1} // wide in some East Asian fonts
	term := os.Getenv("TERM")
	file, ok := out.(*os.File)
	terminal := ok
	if ok {
		_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
		terminal = err == nil
	}
	if terminal {
		l.columns, l.rows = 80, 24 // a serial line does not know its size
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
			l.columns, l.rows = int(size.Col), int(size.Row)
		}
		l.moves = term != "" && term != "dumb"
	} else {
		l.columns, l.rows = fromEnvironment("COLUMNS"), fromEnvironment("LINES")
	}
	if l.columns > 0 {
		l.columns = max(l.columns, fewestColumns)
	}
	switch colour {
	case "auto":
		l.colour = l.moves && os.Getenv("NO_COLOR") == "" // https://no-color.org
	case "always":
		l.colour = true
	case "never":
	default:
		return l, usageError{fmt.Errorf("unknown --color %q: use auto, always or never", colour)}
	}
	return l, nil
}

// fromEnvironment returns the positive number in a variable, or 0.
func fromEnvironment(name string) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// utf8Locale reports whether text is UTF-8 in the locale of the environment (locale(7)).
func utf8Locale() bool {
	locale := cmp.Or(os.Getenv("LC_ALL"), os.Getenv("LC_CTYPE"), os.Getenv("LANG"))
	_, charset, _ := strings.Cut(strings.ToLower(locale), ".")
	charset, _, _ = strings.Cut(charset, "@")
	return charset == "utf-8" || charset == "utf8"
}

// A style is how a terminal with colours shows a text: parameters of SGR (ECMA-48), "" for none.
type style string

const (
	plainStyle style = ""
	heading    style = "1"
	good       style = "32"
	bad        style = "1;31"
	faint      style = "2"
)

// A page is the lines of a text for an output with some look.
type page struct {
	look
	brief bool // details are cut short, since the screen has no room for more
	lines []string
}

// paint returns a text in a style.
func (p *page) paint(s style, text string) string {
	if !p.colour || s == plainStyle {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// line adds a text, indented, on as many lines as it takes.
func (p *page) line(s style, indent int, format string, args ...any) {
	p.words(s, indent, strings.Split(fmt.Sprintf(format, args...), " "))
}

// words is line for a text that is given in words: it does not break at spaces within these.
func (p *page) words(s style, indent int, words []string) {
	for _, text := range p.wrap(words, indent) {
		p.lines = append(p.lines, p.paint(s, text))
	}
}

// short adds a text on one line, without its end if it does not fit.
func (p *page) short(s style, indent int, format string, args ...any) {
	text := strings.Repeat(" ", indent) + p.legible(fmt.Sprintf(format, args...))
	if p.columns > 0 && runewidth.StringWidth(text) > p.columns {
		text = runewidth.Truncate(text, p.columns, p.ellipsis())
	}
	p.lines = append(p.lines, p.paint(s, text))
}

// mostDetails is the number of lines of one kind if there is little room.
const mostDetails = 3

// details adds texts of one kind: if there is little room, only the first few, each on one line, and how many more
// there are.
func (p *page) details(indent int, texts ...string) {
	shown := texts
	if p.brief && len(texts) > mostDetails {
		shown = texts[:mostDetails-1]
	}
	for _, text := range shown {
		if p.brief {
			p.short(plainStyle, indent, "%s", text)
		} else {
			p.line(plainStyle, indent, "%s", text)
		}
	}
	if more := len(texts) - len(shown); more > 0 {
		p.line(plainStyle, indent, "... and %d more of these", more)
	}
}

func (p *page) ellipsis() string {
	if p.unicode {
		return "…"
	}
	return "..."
}

// legible returns a text in ASCII if the locale has nothing else.
func (p *page) legible(text string) string {
	if p.unicode || !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x80 }) {
		return text
	}
	quoted := strconv.QuoteToASCII(text)
	// Its backslashes and quotes are already as they should be seen.
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[1 : len(quoted)-1])
}

// wrap breaks a text between words, or within a word that is longer than a line. It indents further lines by two more.
func (p *page) wrap(words []string, indent int) []string {
	line, empty := strings.Repeat(" ", indent), true
	if p.columns == 0 {
		return []string{strings.TrimRight(line+p.legible(strings.Join(words, " ")), " ")}
	}
	var lines []string
	flush := func() {
		lines = append(lines, strings.TrimRight(line, " "))
		line, empty = strings.Repeat(" ", indent+2), true
	}
	room := func() int { return p.columns - runewidth.StringWidth(line) }
	add := func(word string) {
		if !empty && 1+runewidth.StringWidth(word) > room() {
			flush()
		}
		if !empty {
			line += " "
		}
		for runewidth.StringWidth(word) > room() {
			head := runewidth.Truncate(word, room(), "")
			if head == "" {
				break // a wide letter in a narrow place
			}
			line, word = line+head, word[len(head):]
			flush()
		}
		line, empty = line+word, false
	}
	for _, word := range words {
		word = p.legible(word)
		if runewidth.StringWidth(word) <= p.columns-indent-2 {
			add(word)
			continue
		}
		for _, part := range strings.Split(word, " ") {
			add(part)
		}
	}
	return append(lines, strings.TrimRight(line, " "))
}

// A fill is one kind of pages in the picture of a pool.
type fill struct {
	name          string
	letter, block string // in ASCII, and beyond
	style         style
}

// The kinds of pages, in the order in which a bar shows them.
var (
	fillOVS         = fill{"Open vSwitch", "V", "█", "36"}
	fillGuests      = fill{"guests", "G", "▓", "32"}
	fillOthers      = fill{"others", "P", "▒", "33"}
	fillFiles       = fill{"leftover files", "F", "▚", "35"}
	fillUnaccounted = fill{"unexplained", "?", "?", "1;31"}
	fillClaimed     = fill{"for starting guests", "s", "s", "34"}
	fillReserved    = fill{"promised", "r", "r", "94"}
	fillFree        = fill{"free", ".", "·", "2"}

	fills = []fill{fillOVS, fillGuests, fillOthers, fillFiles, fillUnaccounted, fillClaimed, fillReserved, fillFree}
)

func (p *page) mark(f fill) string {
	if p.unicode {
		return f.block
	}
	return f.letter
}

// bar draws shares, one for each of fills, in that many columns.
func (p *page) bar(shares []uint64, columns int) string {
	var b strings.Builder
	for i, n := range cells(shares, columns) {
		if n > 0 {
			b.WriteString(p.paint(fills[i].style, strings.Repeat(p.mark(fills[i]), n)))
		}
	}
	return "[" + b.String() + "]"
}

// cells divides the cells of a bar among shares in proportion. Every share that is not 0 gets at least one, while there
// are enough.
func cells(shares []uint64, columns int) []int {
	exact := make([]float64, len(shares))
	n := make([]int, len(shares))
	var total float64
	for _, s := range shares {
		total += float64(s)
	}
	if total == 0 {
		return n
	}
	left := columns
	for i, s := range shares {
		exact[i] = float64(s) / total * float64(columns)
		if s > 0 {
			n[i] = max(1, int(exact[i]))
		}
		left -= n[i]
	}
	for ; left != 0; left -= sign(left) {
		best := -1
		for i := range n {
			switch gain := (exact[i] - float64(n[i])) * float64(sign(left)); {
			case shares[i] == 0 || left < 0 && n[i] == 0:
			case left < 0 && n[i] == 1 && slices.Max(n) > 1: // it keeps its one
			case best < 0 || gain > (exact[best]-float64(n[best]))*float64(sign(left)):
				best = i
			}
		}
		n[best] += sign(left)
	}
	return n
}

func sign(n int) int { return cmp.Compare(n, 0) }

// text returns the page as it is printed.
func (p *page) text() string { return strings.Join(p.lines, "\n") + "\n" }
