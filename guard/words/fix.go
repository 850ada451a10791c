package words

import (
	"fmt"
	"strings"
	"unicode"

	"hugeguard/guard"
)

// Fix is a fix in words.
type Fix struct {
	Kind     string   `json:"kind"`     // which of guard's fixes it is, such as "grow-pools"
	For      string   `json:"for"`      // who acts, or where: "nova", "host" (root's shell on this host), "domain"
	What     string   `json:"what"`     // what to do, in words
	Commands []string `json:"commands"` // for root's shell, in this order
	Lines    []string `json:"lines"`    // for the file that What names, or what to change
	Cost     string   `json:"cost"`     // what else happens then; "" for nothing
	Lasting  []string `json:"lasting"`  // how to keep it beyond the next boot; none where it lasts by itself

	short string // for the one line
}

// Fixes says what to do about a refusal, the best first.
func Fixes(v guard.Verdict) []Fix {
	fixes := []Fix{}
	for _, fix := range v.Fixes {
		if f := say(fix); len(f.Commands) > 0 || len(f.Lines) > 0 {
			f.Kind = Kind(fix)
			fixes = append(fixes, f)
		}
	}
	return fixes
}

// part says a fix that is a part of another; it is empty where there is none.
func part(fix guard.Fix) Fix {
	if fix == nil {
		return Fix{}
	}
	return say(fix)
}

// Kind names what sort of fix one is: its type's name, as "grow-pools".
func Kind(fix guard.Fix) string {
	var kind strings.Builder
	small := false
	for _, r := range strings.TrimPrefix(fmt.Sprintf("%T", fix), "guard.") {
		if small && unicode.IsUpper(r) {
			kind.WriteByte('-')
		}
		small = unicode.IsLower(r)
		kind.WriteRune(unicode.ToLower(r))
	}
	return kind.String()
}

// say says a fix; it has neither commands nor lines where there is nothing to say.
func say(fix guard.Fix) Fix {
	switch fix := fix.(type) {
	case guard.ReserveInNova:
		return Fix{For: "nova", What: NovaEdit(fix.Nova), Lines: Reserve(fix.Reservations)}
	case guard.RestartNova:
		return onHost("restart nova-compute", "systemctl restart "+shellWord(fix.Unit))
	case guard.GrowPools:
		return growPools(fix)
	case guard.BootPools:
		return bootPools(fix)
	case guard.FreeMemory:
		return freeMemory(fix)
	case guard.RaiseLimits:
		return raiseLimits(fix)
	case guard.ChangeDomain:
		lines := changes(fix)
		return Fix{For: "domain", What: "change the domain, or what made it", Lines: lines, short: strings.Join(lines[:min(1, len(lines))], "")}
	case guard.LookUnconfined:
		return onHost("look for holders outside libvirt's confinement, which hides some", "hugeguard status")
	case guard.DeleteFiles:
		return deleteFiles(fix)
	case guard.MountPages:
		return mountFix(fix, part(fix.Then))
	case guard.RestartDaemon:
		return lateFix(fix)
	case guard.ChangePages:
		return pagesFix(fix, part(fix.Then))
	}
	return holderFix(fix)
}

// onHost is a fix by commands of root's on this host, of which the first goes on the one line.
func onHost(what string, commands ...string) Fix {
	f := Fix{For: "host", What: what, Commands: commands}
	if len(commands) > 0 {
		f.short = "run " + commands[0]
	}
	return f
}

// changes says what to change in a domain.
func changes(c guard.ChangeDomain) (lines []string) {
	for _, c := range c.Changes {
		lines = append(lines, change(c))
	}
	return lines
}

func change(c guard.Change) string {
	switch c.Do {
	case guard.Bind:
		return fmt.Sprintf("bind %s to %s", c.Backend, nodes(c.Nodes))
	case guard.PinEmulator:
		return fmt.Sprintf("pin the emulator to CPUs of %s, too (cputune/emulatorpin)", nodes(c.Nodes))
	case guard.TakePages:
		return fmt.Sprintf("give %s pages of %s (memoryBacking/hugepages, in a flavor hw:mem_page_size)", c.Backend, sizes(c.KiB, " or "))
	case guard.ResizeBlocks:
		return fmt.Sprintf("make the blocks of %s %s", c.Backend, guard.Size(c.KiB[0]))
	}
	return fmt.Sprintf("make %s %s", c.Backend, guard.Size(c.KiB[0]))
}

// onPath is a command that ends in a path; "" where the path has characters that cannot be shown.
func onPath(command, path string, args ...any) string {
	if strings.ContainsFunc(path, func(r rune) bool { return r != '\\' && guard.Printable(string(r), 9) != string(r) }) {
		return ""
	}
	if strings.ContainsFunc(path, isSpecial) {
		path = quoted(path)
	}
	return fmt.Sprintf(command, append(args, path)...)
}

// shellWord quotes a file's name for a POSIX shell, so that nothing in it acts on a terminal.
func shellWord(name string) string {
	switch {
	case strings.ContainsFunc(name, isOdd):
		var format strings.Builder
		for i := range len(name) {
			switch c := name[i]; {
			case c == '%' || c == '\\':
				format.Write([]byte{c, c})
			case isOdd(rune(c)):
				fmt.Fprintf(&format, `\%03o`, c)
			default:
				format.WriteByte(c)
			}
		}
		return `"$(printf ` + quoted(format.String()) + `)"`
	case strings.ContainsFunc(name, isSpecial):
		return quoted(name)
	}
	return name
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// isOdd reports whether a terminal may not show a character.
func isOdd(r rune) bool { return r < ' ' || r > '~' }

// isSpecial reports whether a character may mean something to a shell.
func isSpecial(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	return !plain
}
