package guard_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "hugeguard/guard"
)

// TestEveryCauseHasItsID: every constant is among the causes, and every cause has a MESSAGE_ID of its own, as warnings
// have.
func TestEveryCauseHasItsID(t *testing.T) {
	constants := map[Cause]bool{}
	for name, value := range constantsOf(t, "verdict.go") {
		if strings.HasPrefix(name, "Cause") {
			constants[Cause(value)] = true
		}
	}
	for _, cause := range Causes() {
		if !constants[cause] {
			t.Errorf("%s is no constant, or is listed twice", cause)
		}
		delete(constants, cause)
	}
	for cause := range constants {
		t.Errorf("%s is a constant, and not among the causes", cause)
	}
	seen := map[string]Cause{}
	for _, cause := range append(Causes(), "") {
		id := MessageIDs[cause]
		if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" || id[12] != '4' || !strings.Contains("89ab", id[16:17]) {
			t.Errorf("%s: %q is no random id", cause, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s share %s", cause, other, id)
		}
		seen[id] = cause
	}
	if len(seen) != len(MessageIDs) {
		t.Errorf("there are %d causes with warnings, and %d ids", len(seen), len(MessageIDs))
	}
}

// constantsOf returns the constants of a file that are strings, by name.
func constantsOf(t *testing.T, file string) map[string]string {
	values := map[string]string{}
	ast.Inspect(parsed(t, file), func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			values[spec.Names[0].Name] = literal(spec.Values[0])
		}
		return true
	})
	return values
}

// parsed returns a Go file's syntax.
func parsed(t *testing.T, file string) *ast.File {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return syntax
}

// literal returns what a string literal says, "" of all else.
func literal(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		text, _ := strconv.Unquote(lit.Value)
		return text
	}
	return ""
}

// TestEveryCauseHappens: a test of the live host, or a scenario of the two-node machine, makes it happen for real and
// wants its name in the journal.
func TestEveryCauseHappens(t *testing.T) {
	happens := map[string]bool{}
	live, err := filepath.Glob("../testdata/livehost/*_test.go")
	if err != nil || len(live) == 0 {
		t.Fatal("no tests of the live host:", err)
	}
	for _, file := range live {
		ast.Inspect(parsed(t, file), func(n ast.Node) bool {
			if pair, ok := n.(*ast.KeyValueExpr); ok && literal(pair.Key) == "HUGEGUARD_CAUSE" {
				happens[literal(pair.Value)] = true
			}
			return true
		})
	}
	ast.Inspect(parsed(t, "../testdata/numabox/scenario.go"), func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Names[0].Name != "causes" {
			return true
		}
		for _, element := range spec.Values[0].(*ast.CompositeLit).Elts {
			happens[literal(element.(*ast.KeyValueExpr).Value)] = true
		}
		return false
	})
	for _, cause := range Causes() {
		if !happens[string(cause)] {
			t.Errorf(`%s: no test in testdata/livehost wants "HUGEGUARD_CAUSE": %[1]q, and no scenario in testdata/numabox has it among causes`, cause)
		}
	}
}

// TestEveryCauseIsExplained: the message catalog explains every cause, and warnings, and takes in only fields that each
// entry has.
func TestEveryCauseIsExplained(t *testing.T) {
	text, err := os.ReadFile("../install/shipped/hugeguard.catalog")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, entry := range strings.Split("\n"+string(text), "\n-- ")[1:] {
		id, entry, _ := strings.Cut(entry, "\n")
		header, body, _ := strings.Cut(entry, "\n\n")
		if explained[id] {
			t.Errorf("%s is explained twice", id)
		}
		explained[id] = true
		if !strings.HasPrefix(header, "Subject: ") || !strings.Contains(header, "\nDefined-By: hugeguard") || len(strings.Fields(body)) < 30 {
			t.Errorf("%s says too little:\n%s", id, entry)
		}
		for i, field := range strings.Split(entry, "@") {
			always := []string{"HUGEGUARD_DOMAIN", "HUGEGUARD_NEEDED", "HUGEGUARD_FREE", "HUGEGUARD_TOTAL", "HUGEGUARD_PAGE_KIB"}
			if i%2 == 1 && !slices.Contains(always, field) {
				t.Errorf("%s takes in %s, which not every entry has", id, field)
			}
		}
	}
	for _, cause := range append(Causes(), "") {
		id := MessageIDs[cause]
		if !explained[id] {
			t.Errorf("the cause %q has no entry with its id, %s", cause, id)
		}
		delete(explained, id)
	}
	for id := range explained {
		t.Errorf("the entry of %s is of no cause", id)
	}
}
