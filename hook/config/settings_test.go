package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/sysfs/sysfstest"
)

func TestParseConfig(t *testing.T) {
	text := "# ours\n\nmode = warn\nfail=closed\n deadline = 1500ms \nnova_conf = /a  /b.d\novsdb = /c.sock\nreserve = restart\nclaims = off\n" +
		"wait_for_starting = 5s\nstarting_limit = 2m # long\n\texempt\t=\ta*\tb#c # both\nexempt_metadata = off"
	want := Config{Mode: WarnOnly, Fail: FailClosed, Deadline: 1500 * time.Millisecond, WaitForStarting: 5 * time.Second, StartingLimit: 2 * time.Minute,
		NovaConf: []string{"/a", "/b.d"}, OVSDB: []string{"/c.sock"}, Reserve: ReserveRestart, Exempt: []string{"a*", "b#c"}}
	// However the lines end, and whatever an editor puts before them.
	for name, text := range map[string]string{
		"as it stands": text,
		"CRLF":         strings.ReplaceAll(text, "\n", "\r\n"),
		"BOM":          "\ufeff" + text[strings.Index(text, "mode"):],
		"newline":      text + "\n",
	} {
		config, _, wrong := Parse(text)
		if diff := cmp.Diff(want, config); diff != "" || len(wrong) > 0 {
			t.Errorf("%s: %v\n%s", name, wrong, diff)
		}
	}
	// None is not the same as not said.
	if config, _, wrong := Parse("ovsdb = none"); len(wrong) > 0 || config.OVSDB == nil || len(config.OVSDB) > 0 {
		t.Errorf("%#v, %v", config.OVSDB, wrong)
	}
}

// A wrong line is left out and told, with its number and what would be right; the others count.
func TestWrongLines(t *testing.T) {
	for line, want := range map[string]string{
		"mode = maybe":                `"mode = maybe": the value of mode must be enforce, warn or off`,
		"mode = Warn":                 `"mode = Warn": the value of mode must be enforce, warn or off`,
		"mode":                        `"mode": it must be mode = VALUE, where VALUE is enforce, warn or off`,
		"mode = ":                     `"mode =": the value of mode must be enforce, warn or off`,
		"mode = warn; fail = open":    `"mode = warn; fail = open": the value of mode must be enforce, warn or off`,
		"mode = \"warn\"":             `"mode = "warn"": the value of mode must be enforce, warn or off`,
		"mode = warn\x00":             `"mode = warn\x00": it contains a NUL byte`,
		"mode = warn\rfail = open":    `"mode = warn\rfail = open": the value of mode must be enforce, warn or off`,
		"deadline = 0":                `"deadline = 0": the value of deadline must be a time from 10ms to 1m`,
		"deadline = 5":                `"deadline = 5": the value of deadline must be a time from 10ms to 1m`,
		"wait_for_starting = 31s":     `"wait_for_starting = 31s": the value of wait_for_starting must be a time from 0 to 30s`,
		"starting_limit = 0":          `"starting_limit = 0": the value of starting_limit must be a time from 1s to 1h`,
		"claims = perhaps":            `"claims = perhaps": the value of claims must be on or off`,
		"nova_conf = /a b":            `"nova_conf = /a b": the value of nova_conf must be absolute paths, separated by spaces`,
		"nova_conf=":                  `"nova_conf=": the value of nova_conf must be absolute paths, separated by spaces`,
		"ovsdb = db.sock":             `"ovsdb = db.sock": the value of ovsdb must be absolute paths, separated by spaces, or none`,
		"exempt = a* [a":              `"exempt = a* [a": the value of exempt must be patterns of names, separated by spaces: `,
		"exempt = x\\":                `"exempt = x\\": the value of exempt must be patterns`,
		"exempt = [!a]":               `"exempt = [!a]": the value of exempt must be patterns`,
		"exempt =":                    `"exempt =": the value of exempt must be patterns`,
		"moed = off":                  `"moed = off": no setting of this name: did you mean mode?`,
		"Mode = off":                  `"Mode = off": no setting of this name: did you mean mode?`,
		"wait-for-starting = 1s":      `"wait-for-starting = 1s": no setting of this name: did you mean wait_for_starting?`,
		"exempt_by_name = x":          `"exempt_by_name = x": no setting of this name: the settings are mode, fail, exempt, exempt_metadata, deadline, claims, wait_for_starting, starting_limit, nova_conf, ovsdb, reserve`,
		"rubbish\x1b":                 `"rubbish\x1b": it must be NAME = VALUE`,
		"= warn":                      `"= warn": no setting of this name: the settings are`,
		"\xff\xfem\x00":               `"\xff\xfem\x00": it contains a NUL byte`,
		strings.Repeat("mode", 1<<18): `"` + strings.Repeat("mode", 15) + `...": it must be NAME = VALUE`,
	} {
		config, _, wrong := Parse("fail = closed\n" + line + "\n\nclaims = off\n")
		if len(wrong) != 1 || wrong[0].Line != 2 || !strings.HasPrefix(wrong[0].String(), "line 2: "+want) {
			t.Errorf("%.60q: %v, want %s", line, wrong, want)
		}
		if want := Default(); config.ModeUnread != (config.Mode == WarnOnly) || config.Fail != FailClosed || config.Claims || config.Deadline != want.Deadline ||
			config.NovaConf != nil || config.OVSDB != nil || config.Exempt != nil {
			t.Errorf("%.60q: %+v", line, config)
		}
	}
}

// A mode that cannot be read means warn, however it is misspelled. A later line that can be read is what counts, and
// a slip elsewhere changes no mode.
func TestModeUnread(t *testing.T) {
	for text, want := range map[string]Mode{
		"mode = wran":                       WarnOnly,
		"mode = Enforce":                    WarnOnly,
		"mode =":                            WarnOnly,
		"mode":                              WarnOnly,
		"mode warn":                         WarnOnly,
		"mode: warn":                        WarnOnly,
		"Mode = off":                        WarnOnly,
		"moed = off":                        WarnOnly,
		"\"mode\" = off":                    WarnOnly,
		"mode = off\x00":                    WarnOnly,
		"\xff\xfem\x00o\x00d\x00e\x00 \x00": WarnOnly,
		"mode = off\nmode = fo":             WarnOnly,
		"mode = enforce\nmode = wran":       WarnOnly,
		"mode = wran\nmode = enforce":       Enforce,
		"mode = wran\nmode = off":           Off,
		"claims = perhaps":                  Enforce,
		"moderation = off":                  Enforce,
		"rubbish":                           Enforce,
		"# mode = wran":                     Enforce,
		"":                                  Enforce,
	} {
		config, _, wrong := Parse(text)
		unread := want == WarnOnly
		if config.Mode != want || config.ModeUnread != unread || unread && len(wrong) == 0 {
			t.Errorf("%q: mode = %s, unread: %v, %v; want mode = %s", text, config.Mode, config.ModeUnread, wrong, want)
		}
	}
}

// Of two lines for one setting the last that is valid counts, and the other is told.
func TestSetTwice(t *testing.T) {
	config, lines, wrong := Parse("mode = off\nexempt = a\nmode = warn\nmode = no\nexempt = b c\n")
	if config.Mode != WarnOnly || !reflect.DeepEqual(config.Exempt, []string{"b", "c"}) || !reflect.DeepEqual(lines, map[string]int{"mode": 3, "exempt": 5}) {
		t.Errorf("%+v, %v", config, lines)
	}
	var got []string
	for _, w := range wrong {
		got = append(got, w.String())
	}
	if diff := cmp.Diff([]string{
		`line 1: "mode = off": line 3 sets mode again and counts`,
		`line 2: "exempt = a": line 5 sets exempt again and counts`,
		`line 4: "mode = no": the value of mode must be enforce, warn or off`,
	}, got); diff != "" {
		t.Error(diff)
	}
}

// All of the wrong lines are one line, of bounded length.
func TestManyWrongLines(t *testing.T) {
	host := sysfstest.New(t)
	host.Write(Path, strings.Repeat("dedline = "+strings.Repeat("\x1b", 200)+"\n", 1000))
	config, err := Read(host.FS())
	if err == nil || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 2000 || !strings.HasSuffix(err.Error(), "; and 990 more lines") ||
		!strings.Contains(err.Error(), host.Path(Path)+`: line 1: "dedline = \x1b`) ||
		!reflect.DeepEqual(config, Default()) {
		t.Errorf("%v", err)
	}
}

// Every setting reads what it prints, and has its default where it says so.
func TestSettings(t *testing.T) {
	others := map[string]string{"mode": "off", "fail": "closed", "exempt": "a b*", "exempt_metadata": "off", "deadline": "1.5s", "claims": "off",
		"wait_for_starting": "30s", "starting_limit": "1h", "nova_conf": "/a /b", "ovsdb": "none", "reserve": "write"}
	for _, s := range Settings() {
		if got := s.Value(Default()); got != s.Default {
			t.Errorf("%s is %q by default, not %q", s.Name, got, s.Default)
		}
		if s.Values == "" || !strings.HasSuffix(s.Meaning, ".") {
			t.Errorf("%s is not explained: %+v", s.Name, s)
		}
		if config := Default(); s.Default != "" && (!s.of(&config).set(s.Default) || !reflect.DeepEqual(config, Default())) {
			t.Errorf("%s = %s makes %+v", s.Name, s.Default, config)
		}
		config, _, wrong := Parse(fmt.Sprintf("%s = %s\n", s.Name, others[s.Name]))
		if diff := cmp.Diff([]Change{{s.Name, others[s.Name], s.Default}}, config.Changes()); diff != "" || len(wrong) > 0 {
			t.Errorf("%s: %v\n%s", s.Name, wrong, diff)
		}
	}
	if changes := Default().Changes(); len(changes) > 0 {
		t.Errorf("%+v", changes)
	}
}

func TestExempts(t *testing.T) {
	config, _, wrong := Parse("exempt = test-* [x-z]?one \\*\n")
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for name, want := range map[string]string{
		"test-":                            "pattern test-*",
		"test-1":                           "pattern test-*",
		"a-test-1":                         "",
		"test":                             "",
		"y one":                            "pattern [x-z]?one",
		"y one more":                       "",
		"*":                                `pattern \*`,
		"x":                                "",
		"":                                 "",
		"test-\x1b[2J":                     "pattern test-*",
		"test-" + strings.Repeat("x", 250): "pattern test-*",
		"test-" + strings.Repeat("x", 251): "", // libvirt has none of so many bytes
	} {
		if got := config.Exempts(guard.Demand{Domain: guard.Domain{Name: name}}); got != want {
			t.Errorf("%q is exempt by %q, want %q", name, got, want)
		}
	}
	marked := guard.Demand{Domain: guard.Domain{Name: "x"}, Exempt: guard.ExemptByMetadata}
	if got := config.Exempts(marked); got != guard.ExemptByMetadata {
		t.Errorf("by metadata: %q", got)
	}
	config.ExemptMetadata = false
	if got := config.Exempts(marked); got != "" {
		t.Errorf("exempt_metadata = off: %q", got)
	}
	// That of a pattern stands whatever the metadata counts for.
	marked.Domain.Name = "test-1"
	if got := config.Exempts(marked); got != "pattern test-*" {
		t.Errorf("by both: %q", got)
	}
}

// TestConfigOfREADME: what the README shows is taken as it stands.
func TestConfigOfREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "`/etc/hugeguard.conf` is optional")
	_, block, ok := strings.Cut(block, ":\n\n")
	block, _, ok2 := strings.Cut(block, "\n\n")
	if config, _, wrong := Parse(block); !ok || !ok2 || len(wrong) > 0 || !reflect.DeepEqual(config, Default()) {
		t.Errorf("%q: %+v, %v", block, config, wrong)
	}
	for _, s := range Settings() {
		if !strings.Contains(block, " "+s.Name+" = ") {
			t.Errorf("%s is not shown", s.Name)
		}
	}
	if config, _, wrong := Parse(strings.Replace(block, "enforce", "warn", 1)); wrong != nil || config.Mode != WarnOnly {
		t.Errorf("%+v, %v", config, wrong)
	}
}
