package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

const (
	maxRemoval = 32 << 10 // bytes of commands after which no more files are told
	maxShort   = 160      // bytes of a command that the one line shows
)

// deleteFiles says how the pages of leftover files come back.
func deleteFiles(d fix.DeleteFiles) Fix {
	f := onHost("delete the files: no process uses them", removal(d)...)
	f.Cost = "what is in them is lost"
	if !d.Certain {
		f.What = "delete the files that no process uses: not all processes could be asked, this asks again"
	}
	if len(f.Commands) > 0 && len(f.Commands[0]) > maxShort {
		f.short = f.What
	}
	return f
}

// removal returns the commands that delete leftover files or, where some may be in use, that ask for their users: one
// for all files.
func removal(d fix.DeleteFiles) (commands []string) {
	verb, more := "rm", 0
	if !d.Certain {
		verb = "fuser -v"
	}
	command := verb
	for _, h := range d.Holders {
		switch words, unsaid := fileWords(h, ""); {
		case h.Segment != "":
			commands = append(commands, "ipcrm -m "+h.Segment)
		case h.Within != 0:
			if within := removalWithin(h, verb); within != "" {
				commands = append(commands, within)
			}
		default:
			more += unsaid
			for _, word := range words {
				if len(command) > maxRemoval {
					more++
					continue
				}
				command += " " + word
			}
		}
	}
	if command != verb {
		commands = append([]string{command}, commands...)
	}
	if more > 0 {
		commands = append(commands, fmt.Sprintf("# and %d more files", more))
	}
	return commands
}

// fileWords returns a shell's words for leftover files, as they are below a root, and how many files no word can name.
func fileWords(h guard.Holder, root string) (words []string, unsaid int) {
	if word := ShellWord(strings.TrimPrefix(h.Prefix, root)); word != "" {
		return []string{word + "*"}, 0
	}
	for _, file := range h.Files {
		if word := ShellWord(strings.TrimPrefix(file, root)); word != "" {
			words = append(words, word)
		} else {
			unsaid++
		}
	}
	return words, unsaid
}

// removalWithin is the command for files that lie in another mount namespace: in a container it is run there, as nothing
// in that is to be believed. It is "" where no file can be named.
func removalWithin(h guard.Holder, verb string) string {
	words, _ := fileWords(h, fmt.Sprintf("/proc/%d/root", h.Within))
	if len(words) == 0 {
		return ""
	}
	verb += " " + strings.Join(words, " ")
	if command := "sh -c " + quoted(verb); inside(h, command) != command {
		return inside(h, command)
	}
	return fmt.Sprintf("nsenter -t %d -m sh -c %s", h.Within, quoted(verb))
}
