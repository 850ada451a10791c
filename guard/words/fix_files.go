package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

const (
	maxRemoval = 32 << 10 // bytes of commands after which no more files are told
	maxNames   = 8        // files of which each is named: by how they begin, later ones are meant, too
	maxShort   = 160      // bytes of a command that the one line shows
)

// deleteFiles says how the pages of leftover files and segments come back. Files in other mount namespaces are named alone:
// a command of root's that enters one would run the programs that lie there.
func deleteFiles(d fix.DeleteFiles) Fix {
	f := onHost("", removal(d)...)
	files, segments, unsure := false, false, ""
	for _, h := range d.Holders {
		files, segments = files || h.Segment == "", segments || h.Segment != ""
		if h.Unsure {
			unsure = ". If it is of huge pages: the kernel does not say (ipcs -m -i " + h.Segment + " shows whose it is)"
		}
		f.Lines = append(f.Lines, within(h)...)
	}
	f.Cost = "what is in them is lost: no program that runs uses it"
	switch {
	case files && d.Certain:
		f.What = "delete the files: no process has them open or maps them"
	case files:
		f.What = "delete the files that no process uses: not all processes could be asked, this asks again"
	}
	switch {
	case files && segments:
		f.What += ". And remove the System V segment, which no process has attached"
	case segments:
		f.What = "remove the System V segment: no process has attached it"
	}
	f.What += unsure
	if len(f.Commands) == 0 || len(f.Commands[0]) > maxShort {
		f.short, _, _ = strings.Cut(f.What, ".")
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
		case h.Within != 0 && h.Engine != "":
			commands = append(commands, removalWithin(h, verb)...)
		case h.Within != 0: // see within
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
	if word := ShellWord(strings.TrimPrefix(h.Prefix, root)); word != "" && len(h.Files) > maxNames {
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

// removalWithin is the command for files that lie in the mount namespace of a container, where it is run, as nothing in
// that is to be believed; none where no file can be named.
func removalWithin(h guard.Holder, verb string) []string {
	words, _ := fileWords(h, rootOf(h))
	if len(words) == 0 {
		return nil
	}
	return []string{inside(h, "sh -c "+quoted(verb+" "+strings.Join(words, " ")))}
}

// within names files that lie in another mount namespace, of which no program is known that runs a command there.
func within(h guard.Holder) []string {
	if h.Within == 0 || h.Engine != "" {
		return nil
	}
	words, _ := fileWords(h, rootOf(h))
	if len(words) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("in the mount namespace of pid %d%s, by who manages it: %s", h.Within, unit(h.Unit), strings.Join(words, " "))}
}

func rootOf(h guard.Holder) string { return fmt.Sprintf("/proc/%d/root", h.Within) }
