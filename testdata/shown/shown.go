// Package shown reads what the documentation shows its readers to type, and what comes of it, so that tests can run
// every command and write every answer again.
//
// A command is a line that begins with "$ " in a block fenced as console; the lines below it are its answer. What is to
// become of a block is said by a comment right before it:
//
//	<!-- shows on HOST -->   on a captured host; the answers are those that are shown
//	<!-- runs on HOST -->    the same, but the answers are not compared
//	<!-- live -->            on a real host (testdata/livehost)
//	<!-- ends on HOST -->    the text of the block is how the launch ended without hugeguard, if that was captured
//	<!-- cut on HOST -->     the text of the block is what Nova shows of the line of that launch: 30 bytes
//	<!-- explains HOST -->   the message catalog on that launch, up to <!-- end -->
//	<!-- file NAME -->       the text of the block is that file of the repository
//
// HOST is below testdata: the archive of a captured launch without its ending, or a folder with a host and a
// prepare.xml. "HOST with NAME" changes it by the archive NAME.txtar beside this file: its files replace those of the
// host, and a line "no file: PATH" of its comment removes one. The archive also has a truth.json if the launch was made
// on that host; without one the page does not show how it ended. A block without a comment has commands of
// [Elsewhere] only.
package shown

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Files returns the names of the documents, below the repository's root.
func Files(root string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(root, "install/doc"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			found = append(found, path)
		}
		return err
	})
	for i, path := range found {
		if found[i], err = filepath.Rel(root, path); err != nil {
			return nil, err
		}
	}
	return found, err
}

// Doc is a document, cut where something is shown.
type Doc struct {
	Name   string
	Blocks []*Block
	lines  []string
}

// Block is a fenced block, or what the message catalog says.
type Block struct {
	Mark     string // the verb of the comment before it: "shows", "runs", "live", ...; "" without one
	About    string // what follows the verb, without "on"
	Language string // of the fence
	Lines    []string
	Line     int // the number of the first of them
	to       int // the index of the line after the last
}

// Command is one that is shown, with its answer.
type Command struct {
	Text   string
	Line   int
	Answer []string
}

var mark = regexp.MustCompile(`^<!-- (shows|runs|live|ends|cut|explains|file)(?: (?:on )?(\S.*))? -->$`)

// Read reads a document.
func Read(root, name string) (*Doc, error) {
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, err
	}
	d := &Doc{Name: name, lines: strings.Split(string(text), "\n")}
	for i := 0; i < len(d.lines); i++ {
		found := mark.FindStringSubmatch(d.lines[i])
		b := &Block{}
		if found != nil {
			b.Mark, b.About = found[1], found[2]
			i++
		}
		end := "<!-- end -->"
		if b.Mark != "explains" {
			language, fence := "", false
			if i < len(d.lines) {
				language, fence = strings.CutPrefix(d.lines[i], "```")
			}
			if !fence && found != nil {
				return nil, fmt.Errorf("%s:%d: no block follows: %s", name, i, d.lines[i-1])
			}
			if !fence {
				continue
			}
			b.Language, end = language, "```"
			i++
		}
		length := slices.Index(d.lines[min(i, len(d.lines)):], end)
		if length < 0 {
			return nil, fmt.Errorf("%s:%d: %s is missing", name, i, end)
		}
		b.Line, b.to = i+1, i+length
		b.Lines = d.lines[i:b.to]
		d.Blocks = append(d.Blocks, b)
		i = b.to
	}
	return d, nil
}

// Commands returns the commands of a block.
func (b *Block) Commands() (found []Command) {
	if b.Language != "console" {
		return nil
	}
	for i, line := range b.Lines {
		if text, ok := strings.CutPrefix(line, "$ "); ok {
			found = append(found, Command{Text: text, Line: b.Line + i})
		} else if len(found) > 0 {
			last := &found[len(found)-1]
			last.Answer = append(last.Answer, line)
		}
	}
	return found
}

// With returns the document's text with other lines in its blocks.
func (d *Doc) With(lines map[*Block][]string) string {
	var text []string
	at := 0
	for _, b := range d.Blocks {
		if fresh, ok := lines[b]; ok {
			text = append(append(text, d.lines[at:b.Line-1]...), fresh...)
			at = b.to
		}
	}
	return strings.Join(append(text, d.lines[at:]...), "\n")
}

// Outside returns the lines that are in no block, each with its number.
func (d *Doc) Outside() map[int]string {
	found := map[int]string{}
	for i, line := range d.lines {
		found[i+1] = line
	}
	for _, b := range d.Blocks {
		for n := range b.to - b.Line + 1 {
			delete(found, b.Line+n)
		}
	}
	return found
}

var comment = regexp.MustCompile(`\s+#\s.*$`)

// Plain is the command without the comment after it.
func (c Command) Plain() string { return comment.ReplaceAllString(c.Text, "") }
