package words

import (
	"fmt"
	"slices"
	"strings"

	"hugeguard/guard"
)

// Remedy is a fix in words: lines for a file or a shell, or what to change.
type Remedy struct {
	For   string   `json:"for"` // "nova": lines for nova.conf; "host": commands for root's shell; "domain": what to change in it, in words
	How   string   `json:"how"` // where they go and what to do then, in words
	Lines []string `json:"lines"`
}

// Remedies says what an admin can do about a refusal.
func Remedies(v guard.Verdict) []Remedy {
	remedies := []Remedy{}
	for _, fix := range v.Fixes {
		if r := remedy(fix); len(r.Lines) > 0 {
			remedies = append(remedies, r)
		}
	}
	return remedies
}

// remedy says a fix; it has no lines where there is nothing to say.
func remedy(fix guard.Fix) Remedy {
	const untilBoot = "as root on this host, until its next boot"
	switch fix := fix.(type) {
	case guard.ReserveInNova:
		return Remedy{"nova", NovaEdit(fix.Nova), Reserve(fix.Reservations)}
	case guard.RestartNova:
		return Remedy{"host", "as root on this host", []string{"systemctl restart " + shellWord(fix.Unit)}}
	case guard.GrowPools:
		return Remedy{"host", untilBoot + " (fewer pages appear where memory is short)", growth(fix)}
	case guard.RaiseLimits:
		return Remedy{"host", untilBoot, limits(fix)}
	case guard.ChangeDomain:
		return Remedy{"domain", "in the domain, or in what made it", changes(fix)}
	case guard.LookUnconfined:
		return Remedy{"host", "as root on this host, out of libvirt's confinement, which may see more", []string{"hugeguard status"}}
	case guard.DeleteFiles:
		return Remedy{"host", "as root on this host", removal(fix)}
	}
	panic(fmt.Sprintf("no words for %T", fix))
}

// growth returns the commands that set up more pages.
func growth(g guard.GrowPools) (lines []string) {
	for _, p := range g.Pools {
		lines = append(lines, fmt.Sprintf("echo %d > /sys/devices/system/node/node%d/hugepages/hugepages-%dkB/nr_hugepages", p.Pages, p.Node, p.PageKiB))
	}
	return lines
}

// limits returns the commands that raise limits. Over a mount is put one with more room: the kernel ignores the size=
// of a remount without a word (hugetlbfs_fs_context_ops knows no reconfiguration).
func limits(r guard.RaiseLimits) (lines []string) {
	for _, l := range r.Limits {
		bytes := l.Pages * l.PageKiB * 1024
		line := onPath("echo %d > %s", l.Path, bytes)
		if l.Mount {
			line = onPath("mount -t hugetlbfs -o pagesize=%dK,size=%d hugetlbfs %s", l.Path, l.PageKiB, bytes)
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
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

const (
	maxFiles   = 20       // how many files one command names
	maxRemoval = 32 << 10 // after how many bytes of commands no more are told
)

// removal returns the commands that delete leftover files or, where some may be in use, that ask for their users.
func removal(d guard.DeleteFiles) []string {
	verb := "rm"
	if !d.Certain {
		verb = "fuser -v"
	}
	var lines []string
	size, more := 0, 0
	for _, h := range d.Holders {
		if h.Segment != "" {
			lines = append(lines, "ipcrm -m "+h.Segment)
			continue
		}
		for files := range slices.Chunk(h.Files, maxFiles) {
			if size > maxRemoval {
				more += len(files)
				continue
			}
			command := verb
			for _, file := range files {
				command += " " + shellWord(file)
			}
			lines = append(lines, command)
			size += len(command)
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("# and %d more files", more))
	}
	return lines
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
