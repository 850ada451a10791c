// Package nova reads what nova-compute is told of huge pages: the option reserved_huge_pages, as oslo.config collects
// it from Nova's configuration files and as Nova understands it.
//
// Those files hold passwords. Of other options only the two are kept that say where instances have their directories,
// and no error quotes a line that could be another option's.
package nova

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Config is the values of reserved_huge_pages in the order in which oslo.config reads them (oslo_config/cfg.py,
// MultiOpt): all files add up. The zero value is a configuration without any.
type Config struct {
	Values []Value

	paths paths
}

// Value is one setting of reserved_huge_pages.
type Value struct {
	Text string // without quotes; continuation lines are joined by newlines
	File string // the name that [Config.Add] was given
	Line int    // its first line, from 1
}

// Pool names the huge pages of one size on one node.
type Pool struct {
	Node    int
	PageKiB uint64
}

// Reserved is how many pages Nova keeps back for others than its instances. A negative count is what it is: Nova adds
// pages that are not there.
type Reserved map[Pool]int64

// Same reports whether two settings keep back as much of each pool: a count of 0 is as none.
func (r Reserved) Same(other Reserved) bool {
	for _, setting := range []Reserved{r, other} {
		for pool := range setting {
			if r[pool] != other[pool] {
				return false
			}
		}
	}
	return true
}

// Reserved returns what Nova makes of the values (nova/virt/hardware.py, numa_get_reserved_huge_pages): for the same
// node and page size the last one counts. An error is one that keeps nova-compute from starting, or a [ReferenceError];
// it names the file and quotes the value's first line: what continues it may be another option that was indented by
// mistake.
//
// Pools that no host can have are left out: Nova never asks for them.
func (c Config) Reserved() (Reserved, error) {
	reserved := Reserved{}
	for _, v := range c.Values {
		pool, count, err := v.reservation()
		if err != nil {
			first, _, _ := strings.Cut(v.Text, "\n")
			return nil, fmt.Errorf("%s: line %d: reserved_huge_pages=%q: %w", v.File, v.Line, first, err)
		}
		if pool.Node >= 0 && pool.PageKiB > 0 {
			reserved[pool] = count
		}
	}
	return reserved, nil
}

// ReferenceError is that a value takes in another option's, which is not followed: that one may be anything, a password
// too.
type ReferenceError struct{}

func (ReferenceError) Error() string { return "it refers to another option, which is not looked up" }

// reservation reads a value: pairs of key:value, of which Nova wants node, size and count. Errors quote nothing of it.
func (v Value) reservation() (pool Pool, count int64, err error) {
	text, err := substitute(v.Text)
	if err != nil {
		return pool, 0, err
	}
	pairs, err := parseDict(text)
	if err != nil {
		return pool, 0, err
	}
	for _, key := range []string{"size", "node", "count"} {
		if _, ok := pairs[key]; !ok {
			return pool, 0, fmt.Errorf("there is no %s in it", key)
		}
	}
	pool.PageKiB, err = parseSize(pairs["size"])
	if err != nil {
		return pool, 0, fmt.Errorf("size: %w", err)
	}
	node, err := parseInt(pairs["node"])
	if err != nil {
		return pool, 0, fmt.Errorf("node: %w", err)
	}
	count, err = parseInt(pairs["count"])
	if err != nil {
		return pool, 0, fmt.Errorf("count: %w", err)
	}
	pool.Node = -1
	if node >= 0 && node <= math.MaxInt32 {
		pool.Node = int(node)
	}
	return pool, count, nil
}

// substitute replaces what oslo.config takes for the name of another option: $name and ${name}, with $$ or \$ for a
// dollar sign (ConfigOpts._substitute, string.Template.safe_substitute).
func substitute(text string) (string, error) {
	text = strings.ReplaceAll(text, `\$`, "$$")
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, braced := strings.CutPrefix(after, "{")
		n := nameLength(name)
		switch {
		case strings.HasPrefix(after, "$"):
			after = after[1:]
		case n > 0 && (!braced || strings.HasPrefix(name[n:], "}")):
			return "", ReferenceError{}
		}
		b.WriteByte('$')
		text = after
	}
}

// nameLength is how many bytes at the start of s are an option's name, with its group's.
func nameLength(s string) int {
	n := 0
	for n < len(s) {
		switch c := s[n]; {
		case c == '_', 'a' <= c|0x20 && c|0x20 <= 'z':
		case n > 0 && (c == '.' || '0' <= c && c <= '9'):
		default:
			return n
		}
		n++
	}
	return n
}

// parseDict reads pairs of key:value with commas between them (oslo_config/types.py, Dict). A part without a colon
// belongs to the key after it.
func parseDict(text string) (map[string]string, error) {
	pairs := map[string]string{}
	text = trim(text)
	if text == "" {
		return pairs, nil
	}
	key := ""
	for _, part := range strings.Split(text, ",") {
		key += part
		name, value, ok := strings.Cut(key, ":")
		if !ok {
			key += ","
			continue
		}
		name = trim(name)
		if name == "" {
			return nil, fmt.Errorf("a key is empty")
		}
		if _, twice := pairs[name]; twice {
			return nil, fmt.Errorf("a key is there twice")
		}
		pairs[name] = trim(value)
		key = ""
	}
	if key != "" {
		return nil, fmt.Errorf("it is not made of key:value pairs")
	}
	return pairs, nil
}

// parseSize reads a page size: KiB, or a number with a unit. It is 0 where that is no whole number of KiB above 0,
// which no page has.
func parseSize(text string) (kib uint64, err error) {
	if n, err := parseInt(text); err == nil {
		return uint64(max(n, 0)), nil
	}
	bytes, err := parseBytes(text)
	if err != nil {
		return 0, err
	}
	if bytes <= 0 || bytes >= 1<<63 || math.Mod(bytes, 1024) != 0 {
		return 0, nil
	}
	return uint64(bytes) / 1024, nil
}

// parseBytes reads 1GB, 2MiB, 16384kbit as oslo.utils does (strutils.py, string_to_bytes with IEC units): a B or bit is
// a must, and K is 1024 with and without an i.
func parseBytes(text string) (float64, error) {
	wrong := fmt.Errorf("neither a number of KiB nor one with a unit such as MB")
	number, factor := text, 1.0
	switch {
	case strings.HasSuffix(text, "B"):
		number = text[:len(text)-1]
	case strings.HasSuffix(text, "bit"):
		number, factor = text[:len(text)-3], 1.0/8
	case strings.HasSuffix(text, "b"):
		number, factor = text[:len(text)-1], 1.0/8
	default:
		return 0, wrong
	}
	prefix := strings.TrimSuffix(number, "i")
	power := 0
	if prefix != "" {
		power = strings.IndexByte("KMGT", prefix[len(prefix)-1]) + 1
	}
	if power > 0 {
		number = prefix[:len(prefix)-1]
	}
	whole, fraction, dot := strings.Cut(unsigned(number), ".")
	if !digits(whole+fraction) || dot && fraction == "" {
		return 0, wrong
	}
	magnitude, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, wrong
	}
	return math.Ceil(magnitude * factor * math.Pow(1024, float64(power))), nil
}

// parseInt reads a decimal number as Python's int() does: white space around it, a sign, and single underscores between
// its digits.
func parseInt(text string) (int64, error) {
	s := trim(text)
	body := unsigned(s)
	if strings.HasPrefix(body, "_") || strings.HasSuffix(body, "_") || strings.Contains(body, "__") ||
		!digits(strings.ReplaceAll(body, "_", "")) {
		return 0, fmt.Errorf("not a number")
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(s, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("too large a number")
	}
	return n, nil
}

// unsigned takes away a sign.
func unsigned(s string) string {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[1:]
	}
	return s
}

// digits says whether s is decimal digits, one at least.
func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
