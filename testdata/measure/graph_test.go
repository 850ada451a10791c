package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestKnots(t *testing.T) {
	of := func(files ...string) map[string]bool {
		all := map[string]bool{}
		for _, f := range files {
			all[f] = true
		}
		return all
	}
	// a and b use each other, c, d and e go round, f uses all and nobody uses it.
	g := graph{"a": of("b"), "b": of("a", "c"), "c": of("d"), "d": of("e"), "e": of("c"), "f": of("a", "c")}
	if n := g.edges(); n != 8 {
		t.Errorf("%d uses, want 8", n)
	}
	if n := g.mutual(); n != 1 {
		t.Errorf("%d mutual pairs, want 1", n)
	}
	if got, want := g.knots(), [][]string{{"c", "d", "e"}, {"a", "b"}}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("knots are %q, want %q", got, want)
	}
}

// A package that was made for it has all that is counted.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	var long, hard strings.Builder
	for range longFunction {
		long.WriteString("\tx++\n")
	}
	for range hardFunction + 1 {
		hard.WriteString("\tif x > 0 { x++ }\n")
	}
	for name, text := range map[string]string{
		"go.mod":    "module example\n\ngo 1.26\n",
		"a.go":      "package x\n\ntype T struct{ field int }\n\nfunc A(x int) int {\n" + long.String() + "\treturn B(x)\n}\n",
		"b.go":      "package x\n\nfunc B(x int) int {\n" + strings.ReplaceAll(hard.String(), "{ x++ }", "{\nx++\n}") + "\treturn T{x}.field\n}\n",
		"c.go":      "package x\n\nfunc C(x int) {\n\tif x = B(x); x > 0 {\n\t\tfunc() {}()\n\t}\n}\n",
		"x_test.go": "package x\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir("../..") // where the tools' versions are
	var out strings.Builder
	if err := run(&out, dir, []string{"./..."}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		" 157 1 3 3 1 2 3 2 1 1 1 example ",
		" example/a.go:5: A has 63 lines ",
		" example/b.go:3: B has a cognitive complexity of 26 ",
	} {
		if said := strings.Join(strings.Fields(out.String()), " ") + " "; !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
