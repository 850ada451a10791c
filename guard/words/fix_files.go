package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
)

const (
	maxRemoval = 32 << 10 // bytes of commands after which no more files are told
	maxShort   = 160      // bytes of a command that the one line shows
)

// deleteFiles says how the pages of leftover files come back.
func deleteFiles(d guard.DeleteFiles) Fix {
	f := onHost("delete the files: no process uses them", removal(d)...)
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
func removal(d guard.DeleteFiles) (commands []string) {
	command, more := "rm", 0
	if !d.Certain {
		command = "fuser -v"
	}
	for _, h := range d.Holders {
		switch {
		case h.Segment != "":
			commands = append(commands, "ipcrm -m "+h.Segment)
		case h.Prefix != "":
			command += " " + shellWord(h.Prefix) + "*"
		default:
			for _, file := range h.Files {
				if len(command) > maxRemoval {
					more++
					continue
				}
				command += " " + shellWord(file)
			}
		}
	}
	if strings.Contains(command, "/") {
		commands = append([]string{command}, commands...)
	}
	if more > 0 {
		commands = append(commands, fmt.Sprintf("# and %d more files", more))
	}
	return commands
}
