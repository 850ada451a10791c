package words

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryFactHasWords: each reason of a finding and each fix has a case where it is said; without one it panics.
func TestEveryFactHasWords(t *testing.T) {
	for _, test := range []struct{ facts, after, said string }{
		{"../finding.go", "Reason", "finding.go"},
		{"../fix.go", "Fix", "fix.go"},
		{"../fix_holder.go", "", "fix_holder.go"},
	} {
		source, err := os.ReadFile(test.said)
		if err != nil {
			t.Fatal(err)
		}
		said := map[string]bool{}
		for _, c := range regexp.MustCompile(`(?m)^\tcase (guard\..*):$`).FindAllStringSubmatch(string(source), -1) {
			for _, name := range strings.Split(c[1], ", ") {
				said[strings.TrimPrefix(name, "guard.")] = true
			}
		}
		file, err := parser.ParseFile(token.NewFileSet(), test.facts, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		begun, facts := test.after == "", 0
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
		if facts < 6 {
			t.Errorf("%s: only %d facts", test.facts, facts)
		}
	}
}

// isFact reports whether a type stands for itself, and is no part of another.
func isFact(name string) bool {
	switch name {
	case "Reservation", "PoolSize", "Limit", "Change":
		return false
	}
	return true
}
