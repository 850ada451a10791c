package reserve

import (
	"os"
	"strings"
	"syscall"

	"io/fs"

	"hugeguard/guard/nova"
)

const option = "reserved_huge_pages"

// What is written. In a file that others wrote, the lines that no longer count become comments, and hugeguard's stand
// between two others.
const (
	dropInHead = "# Written by hugeguard reserve --write; hugeguard reserve --remove removes it.\n"
	begin      = "# hugeguard reserve --write wrote this; hugeguard reserve --remove removes it"
	end        = "# hugeguard end"
	commented  = "# hugeguard: "
)

func dropIn(lines []string) string {
	return dropInHead + "[DEFAULT]\n" + strings.Join(lines, "\n") + "\n"
}

// inPlace returns a file's text with the lines in place of what it says of the option.
func inPlace(text string, lines []string) string {
	text = restored(text)
	var c nova.Config
	if c.Add("", text) != nil {
		return text
	}
	set := map[int]bool{} // the lines of the option, from 1
	for _, v := range c.Values {
		for i := range strings.Count(v.Text, "\n") + 1 {
			set[v.Line+i] = true
		}
	}
	block := begin + "\n[DEFAULT]\n" + strings.Join(lines, "\n") + "\n" + end + "\n"
	if len(set) == 0 {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + block
	}
	var b strings.Builder
	number, written := 0, false
	for line := range strings.SplitAfterSeq(text, "\n") {
		number++
		if !set[number] {
			b.WriteString(line)
			continue
		}
		if !written {
			b.WriteString(block)
			written = true
		}
		b.WriteString(commented + line)
		if !strings.HasSuffix(line, "\n") {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// restored undoes inPlace.
func restored(text string) string {
	var b strings.Builder
	within := false
	for line := range strings.SplitAfterSeq(text, "\n") {
		plain := strings.TrimRight(line, "\r\n")
		switch {
		case plain == begin:
			within = true
		case plain == end && within:
			within = false
		case within:
		default:
			b.WriteString(strings.TrimPrefix(line, commented))
		}
	}
	return b.String()
}

// makeDir makes a directory with the owner and the mode of another.
func makeDir(name string, like fs.FileInfo) error {
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	if stat, ok := like.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(name, int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(name, like.Mode().Perm())
}
