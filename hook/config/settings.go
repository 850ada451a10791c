package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"hugeguard/guard"
)

// A Setting is one that the configuration can have, in a line "NAME = VALUE".
type Setting struct {
	Name    string
	Default string // as it would be written; "" where only a line can set it
	Values  string // what is valid, in words
	Meaning string // in a sentence or two

	of func(*Config) value // where it is
}

// allSettings is all of them, in the order in which they are best explained.
var allSettings = []Setting{
	{
		Name: "mode", Default: "enforce", Values: "enforce, warn or off",
		Meaning: "enforce refuses starts that must fail. warn refuses nothing and only writes them to the journal. off does nothing. A mode that cannot be read means warn.",
		of:      func(c *Config) value { return word[Mode]{&c.Mode, []Mode{Enforce, WarnOnly, Off}} },
	}, {
		Name: "fail", Default: "open", Values: "open or closed",
		Meaning: "If hugeguard cannot judge a start, open allows it, with a warning in the journal, and closed refuses it.",
		of:      func(c *Config) value { return word[Fail]{&c.Fail, []Fail{FailOpen, FailClosed}} },
	}, {
		Name: "exempt", Values: "patterns of names, separated by spaces: * is any text, ? one character, [a-z] one character of a range, [^a-z] one outside it, \\ makes the next character literal",
		Meaning: "hugeguard judges a domain and never refuses it if its whole name matches a pattern.",
		of:      func(c *Config) value { return list{&c.Exempt, isPattern, ""} },
	}, {
		Name: "exempt_metadata", Default: "on", Values: "on or off",
		Meaning: "on also exempts a domain if its metadata has an element exempt in the namespace " + guard.Namespace + ".",
		of:      func(c *Config) value { return toggle{&c.ExemptMetadata} },
	}, {
		Name: "deadline", Default: "2s", Values: "a time from 10ms to 1m",
		Meaning: "How long a call of the hook may take, without the wait for starting guests.",
		of:      func(c *Config) value { return span{&c.Deadline, 10 * time.Millisecond, time.Minute} },
	}, {
		Name: "claims", Default: "on", Values: "on or off",
		Meaning: "on counts the pages that starting guests will take when it judges later starts.",
		of:      func(c *Config) value { return toggle{&c.Claims} },
	}, {
		Name: "wait_for_starting", Default: "0s", Values: "a time from 0 to 30s",
		Meaning: "How long a start waits if it would fit without the starting guests. Meanwhile libvirt answers nobody who asks about this guest or lists all guests, such as virsh list and nova-compute.",
		of:      func(c *Config) value { return span{&c.WaitForStarting, 0, 30 * time.Second} },
	}, {
		Name: "starting_limit", Default: "1m", Values: "a time from 1s to 1h",
		Meaning: "How long a start may go without a QEMU process before its claim is dropped.",
		of:      func(c *Config) value { return span{&c.StartingLimit, time.Second, time.Hour} },
	}, {
		Name: "nova_conf", Values: "absolute paths, separated by spaces",
		Meaning: "The files and directories of nova-compute's configuration, in the order in which it reads them. By default hugeguard looks for them.",
		of:      func(c *Config) value { return list{&c.NovaConf, path.IsAbs, ""} },
	}, {
		Name: "ovsdb", Values: "absolute paths, separated by spaces, or none",
		Meaning: "The sockets of Open vSwitch's database: hugeguard asks the first that answers. none asks nobody. By default hugeguard tries the usual ones.",
		of:      func(c *Config) value { return list{&c.OVSDB, path.IsAbs, "none"} },
	}, {
		Name: "reserve", Default: "report", Values: "off, report, write or restart",
		Meaning: "What hugeguard-reserve.timer does if Nova does not reserve what others hold: report writes it to the journal, write also writes Nova's configuration, and restart also restarts nova-compute.",
		of: func(c *Config) value {
			return word[Reserve]{&c.Reserve, []Reserve{ReserveOff, ReserveReport, ReserveWrite, ReserveRestart}}
		},
	},
}

// Value returns the setting's value as a line would have it; "" where it has no default and no line sets it.
func (s Setting) Value(c Config) string { return s.of(&c).String() }

// Settings returns all settings that there are.
func Settings() []Setting { return slices.Clone(allSettings) }

// A Change is a setting that is not at its default.
type Change struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default,omitempty"` // "" where only a line can set it
}

// Changes returns the settings that are not at their defaults, in the order of [Settings].
func (c Config) Changes() []Change {
	var changes []Change
	for _, s := range allSettings {
		if value := s.Value(c); value != s.Default {
			changes = append(changes, Change{s.Name, value, s.Default})
		}
	}
	return changes
}

// An Error is what of the configuration is not followed.
type Error struct {
	Path  string
	Wrong []WrongLine // in the order of the file
	// ModeUnread is that of [Config].
	ModeUnread bool
}

// A WrongLine is a line of the configuration that is not followed.
type WrongLine struct {
	Line int    // from 1
	Text string // of the line, without its comment
	Why  string // and what would be right, in words
}

// mostWrong is how many lines are told one by one.
const mostWrong = 10

// Error names each line, on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.ModeUnread {
		fmt.Fprintf(&b, "the mode cannot be read, so hugeguard refuses nothing (mode = %s); ", WarnOnly)
	}
	fmt.Fprintf(&b, "hugeguard ignores a part of the configuration: %s: ", e.Path)
	for i, w := range e.Wrong {
		if i == mostWrong {
			fmt.Fprintf(&b, "; and %d more lines", len(e.Wrong)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(w.String())
	}
	return b.String()
}

// String is the line with its number and what is wrong with it, printable.
func (w WrongLine) String() string {
	return fmt.Sprintf("line %d: \"%s\": %s", w.Line, guard.Printable(w.Text, 60), w.Why)
}

// Parse reads lines of "NAME = VALUE"; # begins a comment, at the start of a line or after white space. Of two valid
// lines for one setting the last counts, and the first is among the wrong ones. lines has the number of the line that
// sets each setting, without those that no line sets.
func Parse(text string) (config Config, lines map[string]int, wrong []WrongLine) {
	config = Default()
	lines = map[string]int{}
	valid := map[string]string{} // the text of these lines
	for i, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		line, _, _ = strings.Cut(" "+strings.ReplaceAll(line, "\t", " "), " #")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		this := WrongLine{Line: i + 1, Text: line}
		name, value, ok := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		this.Why = config.set(name, value, ok)
		if this.Why != "" {
			if meant(firstWord(line)) == modeSetting {
				config.Mode, config.ModeUnread = WarnOnly, true
			}
			wrong = append(wrong, this)
			continue
		}
		if name == modeSetting {
			config.ModeUnread = false
		}
		if before, twice := lines[name]; twice {
			wrong = append(wrong, WrongLine{before, valid[name], fmt.Sprintf("line %[2]d sets %[1]s again and counts", name, this.Line)})
		}
		lines[name], valid[name] = this.Line, line
	}
	slices.SortStableFunc(wrong, func(a, b WrongLine) int { return a.Line - b.Line })
	return config, lines, wrong
}

// modeSetting is the one that decides whether anything is refused.
const modeSetting = "mode"

// set sets one setting, or says why it does not.
func (c *Config) set(name, value string, equals bool) (why string) {
	i := slices.IndexFunc(allSettings, func(s Setting) bool { return s.Name == name })
	switch {
	case strings.ContainsRune(name+value, 0):
		return "it contains a NUL byte"
	case i < 0 && !equals:
		return "it must be NAME = VALUE"
	case i < 0:
		return noSetting(name)
	case !equals:
		return fmt.Sprintf("it must be %s = VALUE, where VALUE is %s", name, allSettings[i].Values)
	case !allSettings[i].of(c).set(value):
		return fmt.Sprintf("the value of %s must be %s", name, allSettings[i].Values)
	}
	return ""
}

// noSetting says that there is no setting of that name, and which is nearest.
func noSetting(name string) string {
	if nearest := meant(name); nearest != "" {
		return fmt.Sprintf("no setting of this name: did you mean %s?", nearest)
	}
	var names []string
	for _, s := range allSettings {
		names = append(names, s.Name)
	}
	return "no setting of this name: the settings are " + strings.Join(names, ", ")
}

// firstWord is that of a line, without the signs before it and, as UTF-16 has them, the NULs in it.
func firstWord(line string) string {
	words := strings.FieldsFunc(strings.ReplaceAll(line, "\x00", ""), func(r rune) bool {
		return !unicode.IsLetter(r) && r != '_' && r != '-' || r == unicode.ReplacementChar
	})
	return append(words, "")[0]
}

// meant is the setting whose name is nearest; "" where none is near.
func meant(name string) string {
	nearest, least := "", 3 // so many slips of the pen are a slip still
	for _, s := range allSettings {
		if d := distance(name, s.Name); d < least {
			nearest, least = s.Name, d
		}
	}
	return nearest
}

// distance is how many letters have to be put in, left out, replaced or swapped
// with the next to make b of a, capital letters being as good as small ones.
func distance(a, b string) int {
	const most = 40
	a, b = strings.ToLower(a[:min(len(a), most)]), strings.ToLower(b)
	a = strings.ReplaceAll(a, "-", "_")
	var before []int
	row := make([]int, len(b)+1)
	for k := range row {
		row[k] = k
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for k := range len(b) {
			cost := 1
			if a[i] == b[k] {
				cost = 0
			}
			next[k+1] = min(row[k]+cost, row[k+1]+1, next[k]+1)
			if i > 0 && k > 0 && a[i] == b[k-1] && a[i-1] == b[k] {
				next[k+1] = min(next[k+1], before[k-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// A value is where a setting is, and how it is written.
type value interface {
	set(text string) (ok bool) // leaves it as it is where the text is not valid
	String() string
}

// word is one of some.
type word[T ~string] struct {
	at     *T
	values []T
}

func (w word[T]) String() string { return string(*w.at) }

func (w word[T]) set(text string) bool {
	ok := slices.Contains(w.values, T(text))
	if ok {
		*w.at = T(text)
	}
	return ok
}

// toggle is on or off.
type toggle struct{ at *bool }

func (t toggle) String() string {
	if *t.at {
		return "on"
	}
	return "off"
}

func (t toggle) set(text string) bool {
	ok := text == "on" || text == "off"
	if ok {
		*t.at = text == "on"
	}
	return ok
}

// span is a time within bounds.
type span struct {
	at          *time.Duration
	least, most time.Duration
}

// String is 1m rather than 1m0s.
func (s span) String() string {
	text := s.at.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (s span) set(text string) bool {
	d, err := time.ParseDuration(text)
	ok := err == nil && d >= s.least && d <= s.most
	if ok {
		*s.at = d
	}
	return ok
}

// list is at least one value between blanks, all of them valid, or what is written for none; "" for nothing.
type list struct {
	at    *[]string
	valid func(string) bool
	none  string
}

func (l list) String() string {
	if *l.at != nil && len(*l.at) == 0 {
		return l.none
	}
	return strings.Join(*l.at, " ")
}

func (l list) set(text string) bool {
	values := strings.Fields(text)
	switch {
	case l.none != "" && text == l.none:
		values = []string{}
	case len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return !l.valid(v) }):
		return false
	}
	*l.at = values
	return true
}

// isPattern says whether path.Match takes a pattern, and as the shell does: to that [!a] is one that is not a.
func isPattern(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err == nil && !strings.Contains(pattern, "[!")
}

// Exempts says by what a domain is exempt from being refused, as in [guard.Demand]: by a pattern of its name, or by its
// metadata; "" where it is not.
func (c Config) Exempts(d guard.Demand) string {
	if by := c.ExemptsName(d.Domain.Name); by != "" {
		return by
	}
	if d.Exempt == guard.ExemptByMetadata && !c.ExemptMetadata {
		return ""
	}
	return d.Exempt
}

// longestName is that of a file, in bytes: libvirt has one named after each domain.
const longestName = 255

// ExemptsName is [Config.Exempts] of a domain of which nothing but the name is known.
func (c Config) ExemptsName(name string) string {
	if len(name) > longestName {
		return "" // none of libvirt's, and long to look at
	}
	for _, pattern := range c.Exempt {
		if is, err := path.Match(pattern, name); err == nil && is {
			return "pattern " + pattern
		}
	}
	return ""
}
