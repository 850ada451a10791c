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
	for _, test := range []struct{ facts, after, said string }{
		{"../finding*.go", "Reason", "finding*.go"},
		{"../fix/*.go", "", "fixes.go"},
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
		begun, facts := test.after == "", 0
		for _, name := range sources(t, test.facts) {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if _, ok := spec.Type.(*ast.StructType); ok && begun && isFact(spec.Name.Name) {
					facts++
					if !said[spec.Name.Name] {
						t.Errorf("%s has no words in %s", spec.Name.Name, test.said)
					}
				}
				begun = begun || spec.Name.Name == test.after
				return true
			})
		}
		if facts < 7 {
			t.Errorf("%s: only %d facts", test.facts, facts)
		}
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

// isFact reports whether a type stands for itself, and is no part of another.
func isFact(name string) bool {
	switch name {
	case "Reservation", "PoolSize", "Keep", "BootLine", "MemoryShort", "Limit", "Change":
		return false
	}
	return ast.IsExported(name)
}
