// Measure says how the code is built, in numbers that anyone can get again: for each package its lines, how its files use
// one another, and which functions are long or hard to follow.
//
//	go run ./testdata/measure                # the product's packages
//	go run ./testdata/measure -C ../before   # those of another checkout
//
// A file uses another of its package if it mentions something that is declared there, as go/types sees it. A knot is a set
// of files of which each uses each, directly or through others: none of them can be understood alone. Tests are counted
// by their lines only. The cognitive complexity is gocognit's.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// What is worth a look.
const (
	longFunction  = 60 // lines
	hardFunction  = 25 // cognitive complexity
	largeKnotSize = 5  // files
)

func main() {
	dir := flag.String("C", ".", "the `directory` of the checkout")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	if err := run(os.Stdout, *dir, patterns); err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, dir string, patterns []string) error {
	listed, err := list(dir, patterns)
	if err != nil {
		return err
	}
	exports := map[string]string{}
	for _, p := range listed {
		exports[p.ImportPath] = p.Export
	}
	var all []measures
	for _, p := range listed {
		if p.DepOnly || len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue
		}
		m, err := measure(p, exports)
		if err != nil {
			return fmt.Errorf("%s: %w", p.ImportPath, err)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b measures) int { return strings.Compare(a.path, b.path) })
	print(out, all)
	return nil
}

// A listing is what "go list" says of a package.
type listing struct {
	Dir, ImportPath, Export                      string
	DepOnly                                      bool
	GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
}

// list returns the packages that match and, marked as needed, those that they import.
func list(dir string, patterns []string) ([]listing, error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=Dir,ImportPath,Export,DepOnly,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles"}, patterns...)...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var all []listing
	decoder := json.NewDecoder(out)
	for {
		var p listing
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, errors.Join(fmt.Errorf("go list: %w", err), cmd.Wait())
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	return all, nil
}

// The measures of a package.
type measures struct {
	path               string
	files, functions   int
	source, tests      int // lines
	uses, mutual       int // file-to-file uses, and pairs of files that use each other
	knots              [][]string
	long, hard         []string // functions, with what makes them so
	closures, mutating int      // function literals, and ifs that begin with the assignment of an outer variable
}

// measure takes the measures of a package.
func measure(p listing, exports map[string]string) (measures, error) {
	m := measures{path: p.ImportPath, files: len(p.GoFiles) + len(p.CgoFiles)}
	for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
		n, err := lines(filepath.Join(p.Dir, name))
		if err != nil {
			return m, err
		}
		m.tests += n
	}
	set := token.NewFileSet()
	var files []*ast.File
	var names []string
	for _, name := range append(p.GoFiles, p.CgoFiles...) {
		name = filepath.Join(p.Dir, name)
		n, err := lines(name)
		if err != nil {
			return m, err
		}
		m.source += n
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return m, err
		}
		files, names = append(files, file), append(names, name)
	}
	graph, err := usesOf(p.ImportPath, set, files, exports)
	if err != nil {
		return m, err
	}
	m.uses, m.mutual, m.knots = graph.edges(), graph.mutual(), graph.knots()
	for _, file := range files {
		m.walk(set, file)
	}
	m.hard, err = complexities(names)
	return m, err
}

// walk counts what lies in the functions of a file.
func (m *measures) walk(set *token.FileSet, file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			m.functions++
			first, last := set.Position(n.Pos()), set.Position(n.End())
			if count := last.Line - first.Line + 1; count > longFunction {
				m.long = append(m.long, fmt.Sprintf("%s:%d: %s has %d lines", filepath.Base(first.Filename), first.Line, n.Name.Name, count))
			}
		case *ast.FuncLit:
			m.closures++
		case *ast.IfStmt:
			if a, ok := n.Init.(*ast.AssignStmt); ok && a.Tok != token.DEFINE {
				m.mutating++
			}
		}
		return true
	})
}

// usesOf returns which files of a package use which, by their base names.
func usesOf(path string, set *token.FileSet, files []*ast.File, exports map[string]string) (graph, error) {
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{
		Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
		// Files of cgo have names that only it knows.
		FakeImportC: true,
	}
	pkg, err := config.Check(path, set, files, &info)
	if err != nil {
		return nil, err
	}
	g := graph{}
	for _, file := range files {
		g[filepath.Base(set.Position(file.Pos()).Filename)] = map[string]bool{}
	}
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		from, to := filepath.Base(set.Position(ident.Pos()).Filename), filepath.Base(set.Position(object.Pos()).Filename)
		if from != to {
			g[from][to] = true
		}
	}
	return g, nil
}

// lines counts the lines of a file.
func lines(name string) (int, error) {
	text, err := os.ReadFile(name)
	return strings.Count(string(text), "\n"), err
}

// complexities returns the functions of these files that are hard to follow.
func complexities(files []string) ([]string, error) {
	format := "{{.Pos.Filename}}:{{.Pos.Line}}: {{.FuncName}} has a cognitive complexity of {{.Complexity}}"
	cmd := exec.Command("go", append([]string{"tool", "-modfile=testdata/tools/go.mod", "gocognit", "-f", format, "-over", fmt.Sprint(hardFunction)}, files...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	found := errors.As(err, &exit) && len(out) > 0 // it fails where it finds one
	if err != nil && !found {
		if exit != nil {
			os.Stderr.Write(exit.Stderr)
		}
		return nil, fmt.Errorf("gocognit: %w", err)
	}
	var hard []string
	for line := range strings.Lines(string(out)) {
		hard = append(hard, filepath.Base(strings.TrimSpace(line)))
	}
	return hard, nil
}

// print writes the table, and below it what is worth a look.
func print(out io.Writer, all []measures) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "lines\tof tests\tfiles\tuses\tmutual\tlargest knot\tfunctions\tlong\thard\tclosures\tmutating ifs\t package")
	total := measures{path: "all"}
	row := func(m measures, knot int) {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t %s\n", m.source, m.tests, m.files, m.uses, m.mutual, knot,
			m.functions, len(m.long), len(m.hard), m.closures, m.mutating, m.path)
	}
	largest := 0
	for _, m := range all {
		knot := 1
		for _, k := range m.knots {
			knot = max(knot, len(k))
		}
		largest = max(largest, knot)
		row(m, knot)
		total.add(m)
	}
	row(total, largest)
	table.Flush()
	for _, m := range all {
		for _, k := range m.knots {
			if len(k) > largeKnotSize {
				fmt.Fprintf(out, "%s: a knot of %d files: %s\n", m.path, len(k), strings.Join(k, " "))
			}
		}
		for _, what := range append(m.long, m.hard...) {
			fmt.Fprintf(out, "%s/%s\n", m.path, what)
		}
	}
}

func (m *measures) add(other measures) {
	m.files += other.files
	m.functions += other.functions
	m.source += other.source
	m.tests += other.tests
	m.uses += other.uses
	m.mutual += other.mutual
	m.closures += other.closures
	m.mutating += other.mutating
	m.long, m.hard = append(m.long, other.long...), append(m.hard, other.hard...)
}
