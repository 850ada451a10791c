package words

import (
	"slices"
	"strings"
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

	short string // for the one line, after "fix: ", with all commands
	begin string // where it begins, if that is elsewhere than For
}

// onHost is a fix by commands of root's on this host.
func onHost(what string, commands ...string) Fix {
	return Fix{For: "host", What: what, Commands: commands, short: strings.Join(commands, "; ")}
}

// where says who acts, or where, from beginning to end.
func (f Fix) where() string {
	if f.begin != "" {
		return f.begin + ", then " + f.For
	}
	return f.For
}

// details are what follows What in a text: what to do, its price, and how to make it last.
func (f Fix) details() []string {
	lines := slices.Concat(f.Commands, f.Lines)
	if f.Cost != "" {
		lines = append(lines, "cost: "+f.Cost)
	}
	if len(f.Lasting) > 0 {
		lines = append(lines, "to keep it so after the next boot:")
	}
	for _, l := range f.Lasting {
		lines = append(lines, "  "+l)
	}
	return lines
}

// with returns a fix that does another one first, which is empty where there is none.
func (f Fix) with(first Fix) Fix {
	if first.What == "" {
		return f
	}
	if first.For != f.For {
		f.begin = first.For
	}
	f.What = first.What + "; then " + f.What
	f.Commands = slices.Concat(first.Commands, f.Commands)
	f.Lines = slices.Concat(first.Lines, f.Lines)
	f.Cost = strings.Trim(first.Cost+"; "+f.Cost, "; ")
	f.Lasting = slices.Concat(first.Lasting, f.Lasting)
	f.short = strings.Trim(first.short+", then "+f.short, ", ")
	return f
}
