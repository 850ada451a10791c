package words

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryFactHasWords: each reason of a finding and each fix has a case where it is said; without one it panics.
func TestEveryFactHasWords(t *testing.T) {
	for _, test := range []struct {
		facts []string
		said  string
	}{
		{reasons(t), "finding*.go"},
		{fixes(t), "fixes.go"},
	} {
		said := map[string]bool{}
		for _, name := range sources(t, test.said) {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range regexp.MustCompile(`(?m)^\tcase ((?:guard|fix)\..*):$`).FindAllStringSubmatch(string(source), -1) {
				for _, name := range strings.Split(c[1], ", ") {
					_, name, _ = strings.Cut(name, ".")
					said[name] = true
				}
			}
		}
		for _, fact := range test.facts {
			if !said[fact] {
				t.Errorf("%s has no words in %s", fact, test.said)
			}
		}
		if len(test.facts) < 7 {
			t.Errorf("only %d facts: %s", len(test.facts), test.facts)
		}
	}
}

// reasons are the exported structs of package guard that its finding files declare after Reason.
func reasons(t *testing.T) (names []string) {
	begun := false
	inspect(t, "../finding*.go", func(n ast.Node) {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return
		}
		if _, ok := spec.Type.(*ast.StructType); ok && begun && spec.Name.IsExported() {
			names = append(names, spec.Name.Name)
		}
		begun = begun || spec.Name.Name == "Reason"
	})
	return names
}

// fixes are the types of package fix that are fixes.
func fixes(t *testing.T) (names []string) {
	inspect(t, "../fix/kinds.go", func(n ast.Node) {
		if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name == "Kind" {
			names = append(names, f.Recv.List[0].Type.(*ast.Ident).Name)
		}
	})
	return names
}

// inspect walks over the syntax of the files of a pattern.
func inspect(t *testing.T, pattern string, visit func(ast.Node)) {
	for _, name := range sources(t, pattern) {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool { visit(n); return true })
	}
}

// sources returns the files of a pattern but for tests, the shortest name first.
func sources(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(a)-len(b), strings.Compare(a, b)) })
	return names
}
