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

	short string // for the one line, after "fix: "; a command is whole
}

// Fixes says what to do about a refusal, the best first.
func Fixes(v guard.Verdict) []Fix {
	fixes := []Fix{}
	for _, fix := range v.Fixes {
		if f := placed(v, fix, say(fix)); len(f.Commands) > 0 || len(f.Lines) > 0 {
			f.Kind = Kind(fix)
			// In JSON nothing is [], not null.
			f.Commands, f.Lines, f.Lasting = append([]string{}, f.Commands...), append([]string{}, f.Lines...), append([]string{}, f.Lasting...)
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
	case guard.GrowPools:
		return growPools(fix)
	case guard.BootPools:
		return bootPools(fix)
	case guard.FreeMemory:
		return freeMemory(fix)
	case guard.RaiseLimits:
		return raiseLimits(fix)
	case guard.ChangeDomain:
		f := Fix{For: "domain", What: "change " + maker(fix.Manager), Lines: changes(fix)}
		if len(f.Lines) > 0 {
			f.short = f.Lines[0]
		}
		return f
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
	if f, ok := platformFix(fix); ok {
		return f
	}
	return holderFix(fix)
}

// onHost is a fix by commands of root's on this host, of which the first is on the one line.
func onHost(what string, commands ...string) Fix {
	f := Fix{For: "host", What: what, Commands: commands}
	if len(commands) > 0 {
		f.short = commands[0]
	}
	return f
}

// changes says what to change in a domain.
func changes(g guard.ChangeDomain) (lines []string) {
	for _, c := range g.Changes {
		lines = append(lines, change(c, g.Manager))
	}
	return lines
}

func change(c guard.Change, m guard.Manager) string {
	switch c.Do {
	case guard.Bind:
		return fmt.Sprintf("bind %s to %s", c.Backend, nodes(c.Nodes))
	case guard.PinEmulator:
		return fmt.Sprintf("pin the emulator to CPUs of %s, too (cputune/emulatorpin)", nodes(c.Nodes))
	case guard.TakePages:
		return fmt.Sprintf("give %s %s pages (%s)", c.Backend, pageNames(c.KiB, " or "), pageSetting(m))
	case guard.ResizeBlocks:
		return fmt.Sprintf("make the blocks of %s %s", c.Backend, guard.Size(c.KiB[0]))
	}
	return fmt.Sprintf("make %s %s", c.Backend, guard.Size(c.KiB[0]))
}
