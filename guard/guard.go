package guard

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Domain names a libvirt domain. Both values are other people's input: pass them through [Printable] before showing
// them.
type Domain struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
	// Manager is who made it, as its metadata says; "" where nobody is known to have.
	Manager Manager `json:"manager,omitempty"`
}

// ShortNameMost is how many runes a [Domain.ShortName] has at the most (VIR_DOMAIN_SHORT_NAME_MAX).
const ShortNameMost = 20

// ShortName is the domain's name as libvirt has it in the names of directories (virDomainDefGetShortName).
func (d Domain) ShortName() string {
	runes := []rune(d.Name)
	return string(runes[:min(len(runes), ShortNameMost)])
}

// Printable returns text in which nothing can act on a terminal or end a line: control and other unprintable characters
// become Go escapes (\n, \x1b, \u202e), bytes that are no UTF-8 become \xNN, and a backslash is doubled so that no two
// texts look alike. What is longer than most bytes is cut and ends in "...".
func Printable(text string, most int) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		shown := text[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			shown = fmt.Sprintf(`\x%02x`, text[i])
		case r == '\\':
			shown = `\\`
		case !strconv.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			shown = quoted[1 : len(quoted)-1]
		}
		if b.Len()+len(shown) > most {
			b.WriteString("...")
			break
		}
		b.WriteString(shown)
		i += size
	}
	return b.String()
}

// Size prints a size in KiB in the largest binary unit that divides it: "2 MiB", "1 GiB".
func Size(kib uint64) string {
	unit := 0
	for kib != 0 && kib%1024 == 0 && unit < 3 {
		kib /= 1024
		unit++
	}
	return fmt.Sprintf("%d %s", kib, [...]string{"KiB", "MiB", "GiB", "TiB"}[unit])
}
