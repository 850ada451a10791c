package manual

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"hugeguard/hook/config"
	"hugeguard/sysfs"
)

// read has the hook read a configuration.
func read(t *testing.T, text string) config.Config {
	t.Helper()
	root := t.TempDir()
	name := filepath.Join(root, config.Path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	conf, err := config.Read(sysfs.New(root))
	if err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	return conf
}

// The configuration that packages bring changes nothing. Each of its lines says the default, or else something.
func TestConfiguration(t *testing.T) {
	defaults := read(t, "")
	if diff := cmp.Diff(defaults, read(t, Configuration())); diff != "" {
		t.Errorf("the packages' configuration changes:\n%s", diff)
	}
	uncommented := regexp.MustCompile(`(?m)^#(\w)`).ReplaceAllString(Configuration(), "$1")
	for _, s := range config.Settings() {
		line := s.Name + " = " + value(s)
		if !slices.Contains(strings.Split(uncommented, "\n"), line) {
			t.Errorf("no line %q in\n%s", line, uncommented)
		}
		if changed := !reflect.DeepEqual(defaults, read(t, line+"\n")); changed != (s.Default == "") {
			t.Errorf("%q: another configuration than without it: %v", line, changed)
		}
	}
	for i, line := range strings.Split(Configuration(), "\n") {
		if len(line) > 120 {
			t.Errorf("line %d is %d bytes long", i+1, len(line))
		}
	}
}

// The README shows every setting: those with a default with that, the others as examples.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown string
	for _, s := range config.Settings() {
		pattern := `(?m)^    ` + s.Name + ` = .*\n`
		if s.Default == "" {
			pattern = `(?m)^    # ` + s.Name + ` = \S`
		}
		line := regexp.MustCompile(pattern).FindString(string(text))
		if line == "" {
			t.Errorf("README.md has no line %q", pattern)
		}
		if s.Default != "" {
			shown += line
		}
	}
	if diff := cmp.Diff(read(t, ""), read(t, shown)); diff != "" {
		t.Errorf("the settings that README.md shows are not the defaults:\n%s", diff)
	}
}

// Every setting is explained.
func TestConfigurationPage(t *testing.T) {
	page := ConfigurationPage(Release{"1", time.Unix(0, 0)})
	for _, s := range config.Settings() {
		if !strings.Contains(page, "\n"+bold(s.Name)+" = "+italic(value(s))+"\n"+strings.Fields(s.Meaning)[0]+" ") {
			t.Errorf("nothing of %s in\n%s", s.Name, page)
		}
	}
}

// A page says what the tree of commands says, and no text in it is taken for the page's own language.
func TestCommandPage(t *testing.T) {
	root := &cobra.Command{Use: "tool", Short: "Do things", Long: "Does things.\n\nExit status:\n  0  done\n  3  not done"}
	sub := &cobra.Command{Use: "sub [--flag X] FILE", Short: "Short", Run: func(*cobra.Command, []string) {}, DisableFlagsInUseLine: true,
		Long:    "The file\n.name and 'name' and a\\b.\nThings:\n  one  -1\n  two\nand more.\n\nEnd.",
		Example: "  tool sub a\n  .tool"}
	sub.Flags().String("flag", "", "take `X`")
	sub.Flags().String("often", "", "again each `Y`")
	sub.Flags().Lookup("often").NoOptDefVal = "2"
	sub.Flags().Bool("unseen", false, "hidden")
	sub.Flags().MarkHidden("unseen")
	root.AddCommand(sub, &cobra.Command{Use: "secret", Hidden: true, Run: func(*cobra.Command, []string) {}})
	page := CommandPage(root, Release{"1.2-3", time.Unix(0, 0)})
	about, _, _ := strings.Cut(page, ".SH FILES")
	const want = `.TH TOOL 8 "1970-01-01" "hugeguard 1.2\-3" "hugeguard"
.SH NAME
tool \- do things
.SH SYNOPSIS
\fBtool sub\fR [\-\-flag X] FILE
.SH DESCRIPTION
Does things.
.SH COMMANDS
.SS sub
\fBtool sub\fR [\-\-flag X] FILE
.PP
The file .name and 'name' and a\eb. Things:
.PP
.EX
  one  \-1
  two
.EE
and more.
.PP
End.
.TP
\fB\-\-flag\fR \fIX\fR
Take X.
.TP
\fB\-\-often\fR[=\fIY\fR]
Again each Y.
.PP
Examples:
.EX
  tool sub a
  .tool
.EE
.SH EXIT STATUS
.TP
\fB0\fR
Done.
.TP
\fB3\fR
Not done.
`
	if diff := cmp.Diff(want, about); diff != "" {
		t.Error(diff)
	}
	for _, s := range []string{".x", "'x"} {
		if got := escape(s); got != `\&`+s {
			t.Errorf("escape(%q) = %q", s, got)
		}
	}
}
