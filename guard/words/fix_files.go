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
	verb, more := "rm", 0
	if !d.Certain {
		verb = "fuser -v"
	}
	command := verb
	for _, h := range d.Holders {
		switch {
		case h.Segment != "":
			commands = append(commands, "ipcrm -m "+h.Segment)
		case h.Within != 0:
			commands = append(commands, removalWithin(h, verb))
		case shellWord(h.Prefix) != "":
			command += " " + shellWord(h.Prefix) + "*"
		default:
			for _, file := range h.Files {
				if word := shellWord(file); word != "" && len(command) <= maxRemoval {
					command += " " + word
				} else {
					more++
				}
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

// removalWithin is the command for files that lie in another mount namespace: in a container it is run there, as nothing
// in that is to be believed.
func removalWithin(h guard.Holder, verb string) string {
	root := fmt.Sprintf("/proc/%d/root", h.Within)
	if h.Prefix != "" {
		verb += " " + shellWord(strings.TrimPrefix(h.Prefix, root)) + "*"
	} else {
		for _, file := range h.Files {
			verb += " " + shellWord(strings.TrimPrefix(file, root))
		}
	}
	if command := "sh -c " + quoted(verb); inside(h, command) != command {
		return inside(h, command)
	}
	return fmt.Sprintf("nsenter -t %d -m sh -c %s", h.Within, quoted(verb))
}
