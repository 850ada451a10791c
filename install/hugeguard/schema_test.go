package main

import (
	"bytes"
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"hugeguard/guard"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/install/domains"
	"hugeguard/install/installtest"
	"hugeguard/install/journal"
	"hugeguard/install/proof"
	"hugeguard/install/status"
	"hugeguard/sysfs"
	"hugeguard/testdata/golden"
)

// outputs are what the commands print as JSON.
var outputs = []struct {
	name, about string
	is          reflect.Type
}{
	{"check", "what check --json prints", reflect.TypeFor[words.Report]()},
	{"check-all", "what check --all --json prints of each domain, one on a line", reflect.TypeFor[answer]()},
	{"explain", "what explain --json prints", reflect.TypeFor[explanation]()},
	{"room", "what room --json prints", reflect.TypeFor[roomReport]()},
	{"status", "what status --json prints", reflect.TypeFor[status.Report]()},
	{"config", "what config --json prints", reflect.TypeFor[effective]()},
	{"verify", "an element of what verify --json prints, one for each daemon", reflect.TypeFor[proof.Result]()},
}

// values are those of types that have a few.
var values = map[reflect.Type][]any{
	reflect.TypeFor[guard.Decision]():   {guard.Allow, guard.Warn, guard.Refuse},
	reflect.TypeFor[guard.Severity]():   {guard.SeverityRefuse, guard.SeverityWarn, guard.SeverityInfo},
	reflect.TypeFor[guard.HolderKind](): {guard.HolderOVS, guard.HolderGuest, guard.HolderProcess, guard.HolderFile},
	reflect.TypeFor[guard.Policy]():     {guard.PolicyDefault, guard.PolicyPreferred, guard.PolicyBind, guard.PolicyInterleave},
	reflect.TypeFor[guard.Strength]():   {guard.Hard, guard.Soft},
	reflect.TypeFor[config.Mode]():      {config.Enforce, config.WarnOnly, config.Off},
}

// A schemaWriter makes a JSON Schema of Go's types.
type schemaWriter struct {
	strict   bool                      // no key may be there that the schema does not have
	comments map[string]string         // by package and name of a type, and of its field
	defs     map[string]map[string]any // by the type's name
}

// TestDocSchema keeps the JSON Schema of all outputs, which is made of the types and of their comments.
func TestDocSchema(t *testing.T) {
	text, err := json.MarshalIndent(newSchema(t, false), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "../doc/hugeguard.schema.json", string(text)+"\n")
}

// newSchema returns the schema of all outputs.
func newSchema(t *testing.T, strict bool) map[string]any {
	t.Helper()
	w := schemaWriter{strict, comments(t), map[string]map[string]any{}}
	var all []any
	for _, o := range outputs {
		def := w.object(o.is)
		def["description"] = o.about
		properties := def["properties"].(map[string]any)
		properties["schema"] = map[string]any{"const": schemaVersion, "description": "the version of this schema"}
		def["required"] = append([]string{"schema"}, def["required"].([]string)...)
		w.defs[o.name] = def
		all = append(all, map[string]string{"$ref": "#/$defs/" + o.name})
	}
	return map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "hugeguard",
		"description": "What hugeguard prints as JSON, one object on a line. Keys may be added to a version, and are never renamed.",
		"anyOf":       all,
		"$defs":       w.defs,
	}
}

// object returns the schema of a struct.
func (w schemaWriter) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || name == "-" {
			continue
		}
		omitted := options == "omitempty"
		of := w.value(f.Type, !omitted)
		owner := t
		if len(f.Index) > 1 {
			owner = t.FieldByIndex(f.Index[:len(f.Index)-1]).Type
		}
		for owner.Kind() == reflect.Pointer {
			owner = owner.Elem()
		}
		if comment := w.comments[owner.String()+"."+f.Name]; comment != "" {
			of["description"] = strings.ReplaceAll(comment, "nil", "null")
		}
		properties[name] = of
		if !omitted {
			required = append(required, name)
		}
	}
	o := map[string]any{"type": "object", "properties": properties, "required": required}
	if w.strict {
		o["additionalProperties"] = false
	}
	return o
}

// value returns the schema of a value. Where it is always printed, one that Go leaves out is null.
func (w schemaWriter) value(t reflect.Type, always bool) map[string]any {
	of := map[string]any{}
	orNull := func(kind string) any {
		if always {
			return []string{kind, "null"}
		}
		return kind
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		of["type"], of["format"] = "string", "date-time"
	case t.Kind() == reflect.Pointer:
		of = w.value(t.Elem(), false)
		if kind, simple := of["type"].(string); simple && always {
			of["type"] = []string{kind, "null"}
		} else if always {
			of = map[string]any{"anyOf": []any{of, map[string]string{"type": "null"}}}
		}
	case t.Kind() == reflect.Slice:
		of["type"], of["items"] = orNull("array"), w.value(t.Elem(), false)
	case t.Kind() == reflect.Struct:
		if _, known := w.defs[t.Name()]; !known {
			w.defs[t.Name()] = nil // it may contain itself
			w.defs[t.Name()] = w.object(t)
		}
		of["$ref"] = "#/$defs/" + t.Name()
	case t.Kind() == reflect.String:
		of["type"] = "string"
		if list := values[t]; list != nil {
			of["enum"] = list
		}
	case t.Kind() == reflect.Bool:
		of["type"] = "boolean"
	default:
		of["type"] = "integer"
		if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
			of["minimum"] = 0
		}
	}
	return of
}

// comments returns what the sources say of the fields that are printed.
func comments(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range []string{".", "../status", "../place", "../journal", "../proof", "../../guard", "../../guard/words", "../../hook/config"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if s, ok := spec.Type.(*ast.StructType); ok {
					for _, f := range s.Fields.List {
						for _, field := range f.Names {
							found[file.Name.Name+"."+spec.Name.Name+"."+field.Name] = said(f)
						}
					}
				}
				return true
			})
		}
	}
	return found
}

// said returns a field's comment, above it or behind it, on one line.
func said(f *ast.Field) string {
	text := f.Doc.Text()
	if text == "" {
		text = f.Comment.Text()
	}
	return strings.Join(strings.Fields(text), " ")
}

// TestOutputsAreValid: whatever the commands print is as the schema says, and has no key that it does not have.
func TestOutputsAreValid(t *testing.T) {
	schemas := map[string]*jsonschema.Resolved{}
	for _, o := range outputs {
		whole := newSchema(t, true)
		delete(whole, "anyOf")
		whole["$ref"] = "#/$defs/" + o.name
		text, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		var schema jsonschema.Schema
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		schemas[o.name], err = schema.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	valid := func(name, what, text string) {
		t.Helper()
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			var v any
			err := json.Unmarshal([]byte(line), &v)
			if err == nil {
				err = schemas[name].Validate(v)
			}
			if err != nil {
				t.Errorf("%s of %s: %v\n%s", name, what, err, line)
			}
			seen[name]++
		}
	}
	for _, about := range launches {
		host := newStage(t, about).host
		for name, args := range map[string][]string{
			"check":  {"check", host.Path("prepare.xml")},
			"room":   {"room", "--like", host.Path("prepare.xml")},
			"status": {"status"},
			"config": {"config"},
		} {
			var out, errs bytes.Buffer
			args = append(args, "--json", "--root", host.Path(""))
			if code := Run(context.Background(), args, nil, &out, &errs); code == exitUsage || code == exitError {
				t.Errorf("%s: %q: status %d: %s", about, args, code, &errs)
				continue
			}
			valid(name, about, out.String())
		}
	}
	var out bytes.Buffer
	Run(context.Background(), []string{"check", "--all", "--json", "--root", defined(t)}, nil, &out, &bytes.Buffer{})
	valid("check-all", "all that are defined", out.String())

	fs := sysfs.New(defined(t))
	program, _ := installtest.Journalctl(t, lastEntry(t, guard.Domain{Name: "none-plain"}, "refuse", "x\nrest"), "", "")
	c := checker{host: fs, notes: &bytes.Buffer{}}
	e, err := c.explain(context.Background(), journal.Journal{Program: program, Patience: time.Hour}, domains.Files{Host: fs}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"explain": e, "verify": proof.Result{Daemon: "libvirtd", Why: []string{"x"}}} {
		text, err := object(v)
		if err != nil {
			t.Fatal(err)
		}
		valid(name, "it", text)
	}
	t.Log(seen)
	for _, o := range outputs {
		if seen[o.name] == 0 {
			t.Errorf("nothing was printed by %s", o.name)
		}
	}
}

// launches are what the documentation calls hosts with a launch: each has other keys.
var launches = []string{"hosts/incident", "hosts/incident with belief", "hosts/plain", "hosts/plain with giant", "hosts/plain with unaccounted",
	"hosts/plain with unsupported", "numabox/captured/trixie/nova-two-cells-exact with starting", "numabox/captured/trixie/reserved-one-too-many", "numabox/captured/trixie/preferred-before-strict"}

// defined returns a host on which the domains of the tests are defined.
func defined(t *testing.T) string {
	t.Helper()
	host := t.TempDir()
	if err := os.CopyFS(host, os.DirFS(incident)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(host+"/etc/libvirt/qemu/autostart", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"none-plain", "nova-two-cells"} {
		text, err := os.ReadFile(repository + "/testdata/domains/" + name + ".xml")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(host+"/etc/libvirt/qemu/"+name+".xml", text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../"+name+".xml", host+"/etc/libvirt/qemu/autostart/"+name+".xml"); err != nil {
			t.Fatal(err)
		}
	}
	return host
}
