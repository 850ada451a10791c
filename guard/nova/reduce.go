package nova

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Reduce returns what is left of a configuration file without anything but
// reserved_huge_pages, and behind that where instances have their directories: [Config.Add], [Config.Reserved] and
// [Config.Instances] find the same in it, the first two on the same lines. A value that Nova understands is written again, without what it
// passes over; of another, what continues its first line is left out. A file that
// oslo.config rejects becomes one that it rejects for the same, without a line of
// the file's own.
func Reduce(text string) string {
	var c Config
	if err := c.Add("", text); err != nil {
		return rejected(err)
	}
	var b strings.Builder
	line := 1
	for i, v := range c.Values {
		if i == 0 && v.Line > 1 {
			b.WriteString("[" + section + "]")
		}
		for ; line < v.Line; line++ {
			b.WriteByte('\n')
		}
		first, _, continued := strings.Cut(v.Text, "\n")
		if pool, count, err := v.reservation(); err == nil {
			first, continued = fmt.Sprintf("node:%d,size:%d,count:%d", pool.Node, pool.PageKiB, count), false
		}
		fmt.Fprintf(&b, `%s="%s"`, option, first)
		if continued {
			b.WriteString("\n\t,") // which is not understood either
			line++
		}
	}
	if line > 1 {
		b.WriteByte('\n')
	}
	if line == 1 && c.paths != (paths{}) {
		b.WriteString("[" + section + "]\n")
	}
	for _, key := range []string{instancesOption, stateOption} {
		if value := *c.paths.of(key); value != "" {
			fmt.Fprintf(&b, "%s=%s\n", key, value)
		}
	}
	return b.String()
}

// samples are all that [Config.Add] rejects, in short.
var samples = []string{" x", "[", "[]", "x", "=", "x="}

// rejected returns a file that [Config.Add] rejects for the same.
func rejected(err error) string {
	want := new(SyntaxError)
	errors.As(err, &want)
	i := slices.IndexFunc(samples, func(sample string) bool {
		got := new(SyntaxError)
		return errors.As(new(Config).Add("", sample), &got) && got.Problem == want.Problem
	})
	return strings.Repeat("\n", want.Line-1) + samples[max(i, 0)] + "\n"
}
