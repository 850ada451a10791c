package manual

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"hugeguard/hook"
	"hugeguard/sysfs"
)

// followed lists the settings that the hook knows: the cases of Config.set.
func followed(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../hook/config.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "set" || f.Recv == nil {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CaseClause); ok {
				for _, e := range c.List {
					if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
						name, err := strconv.Unquote(lit.Value)
						if err != nil {
							t.Fatal(err)
						}
						names = append(names, name)
					}
				}
			}
			return true
		})
	}
	if !slices.Contains(names, "mode") {
		t.Fatalf("hook/config.go has no such cases any more: %q", names)
	}
	return names
}

// What is documented is what the hook follows.
func TestSettingsAreTheHooks(t *testing.T) {
	var documented []string
	for _, s := range Settings {
		documented = append(documented, s.Name)
	}
	want := followed(t)
	slices.Sort(want)
	slices.Sort(documented)
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("settings of the hook (-) and of the manual (+):\n%s", diff)
	}
}

// read has the hook read a configuration.
func read(t *testing.T, text string) hook.Config {
	t.Helper()
	root := t.TempDir()
	name := filepath.Join(root, hook.ConfigPath)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := hook.ReadConfig(sysfs.New(root))
	if err != nil {
		t.Errorf("%v in\n%s", err, text)
	}
	return config
}

// The configuration that packages bring changes nothing. Each of its lines says the default, or else something.
func TestConfiguration(t *testing.T) {
	defaults := read(t, "")
	if diff := cmp.Diff(defaults, read(t, Configuration())); diff != "" {
		t.Errorf("the packages' configuration changes:\n%s", diff)
	}
	uncommented := regexp.MustCompile(`(?m)^#(\w)`).ReplaceAllString(Configuration(), "$1")
	for _, s := range Settings {
		line := s.Name + " = " + s.value()
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

// The README shows every setting, with the same default.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Settings {
		shown := regexp.MustCompile(`(?m)^    (# )?` + s.Name + ` = ` + regexp.QuoteMeta(s.Default) + `(\s|$)`)
		if s.Default == "" {
			shown = regexp.MustCompile(`(?m)^    # ` + s.Name + ` = \S`)
		}
		if !shown.Match(text) {
			t.Errorf("README.md does not show %q", shown)
		}
	}
}

// A page says what the tree of commands says, and no text in it is taken for the page's own language.
func TestCommandPage(t *testing.T) {
	root := &cobra.Command{Use: "tool", Short: "Do things", Long: "Does things.\n\nExit status: 0 done, 3 not\ndone."}
	sub := &cobra.Command{Use: "sub [--flag X] FILE", Short: "Short", Run: func(*cobra.Command, []string) {}, DisableFlagsInUseLine: true,
		Long:    "The file\n.name and 'name' and a\\b.\nThings:\n  one  -1\n  two\nand more.\n\nEnd.",
		Example: "  tool sub a\n  .tool"}
	sub.Flags().String("flag", "", "take `X`")
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
