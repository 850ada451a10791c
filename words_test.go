// Package hugeguard_test holds what is true of the repository as a whole: its words.
package hugeguard_test

import (
	"fmt"
	"go/scanner"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A rule is a row of the table of words in CONTRIBUTING.md.
type rule struct {
	say string
	not []string // of the words of a phrase; one that ends in "*" stands for any ending
}

// A word is one of a text, in small letters.
type word struct {
	text string
	line int // from 1; 0 of the word that separates what is not read in one go
}

// otherPeoples are the files whose words are not ours: captured hosts, definitions of domains, licences.
var otherPeoples = []string{
	"LICENSE", "bin", "vendor", "go.sum", "install/package/debian/copyright", "testdata/capabilities/*.xml", "testdata/domains/*.xml", "testdata/hosts/*/*",
	"testdata/kernels/*.txtar", "testdata/numabox/captured/*/*", "testdata/qemuconf", "testdata/tools/go.sum",
}

// allowed are the texts that may have a word of the last column, each with its reason.
var allowed = []struct{ text, reason string }{
	{"such as", "begins examples"},
	{"no such", "as errno(3) says it, and people after it"},
}

// TestWords looks for words that CONTRIBUTING.md says not to use: in the strings, comments and identifiers of all Go
// files, and in all documents.
func TestWords(t *testing.T) {
	rules := table(t)
	var files int
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && strings.HasPrefix(d.Name(), ".") || slices.ContainsFunc(otherPeoples, func(pattern string) bool {
			is, err := path.Match(pattern, name)
			return is || err != nil
		}) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		files++
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, finding := range check(rules, words(name, text)) {
			t.Errorf("%s:%s", name, finding)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 400 {
		t.Errorf("only %d files were read", files)
	}
}

// table returns the rules.
func table(t *testing.T) []rule {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Words\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var rules []rule
	for _, row := range regexp.MustCompile(`(?m)^\| (.*) \| .* \| (.*)\|$`).FindAllStringSubmatch(section, -1) {
		if phrases := strings.TrimSpace(row[2]); phrases != "" && phrases != "not" {
			rules = append(rules, rule{row[1], strings.Split(phrases, ", ")})
		}
	}
	if len(rules) < 10 {
		t.Fatalf("CONTRIBUTING.md has only %d rows of words", len(rules))
	}
	return rules
}

// words returns those of a file: of a Go file those in strings, comments and identifiers.
func words(name string, text []byte) []word {
	if path.Ext(name) != ".go" {
		if name == "CONTRIBUTING.md" { // the table itself
			text = regexp.MustCompile(`(?m)^(\| .* \| .* \| ).*\|$`).ReplaceAll(text, []byte("$1"))
		}
		return split(nil, string(text), 1)
	}
	files := token.NewFileSet()
	file := files.AddFile(name, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, scanner.ScanComments)
	var all []word
	var before token.Token
	for {
		at, kind, literal := s.Scan()
		switch kind {
		case token.EOF:
			return all
		case token.ADD, token.SEMICOLON:
			continue // a string or a comment that goes over several lines
		case token.COMMENT, token.STRING, token.IDENT:
			if kind != before || kind == token.IDENT {
				all = append(all, word{})
			}
			all = split(all, literal, file.Line(at))
		}
		before = kind
	}
}

// split appends the words of text, which begins in a line, and takes identifiers apart.
func split(all []word, text string, line int) []word {
	start := -1
	runes := []rune(text)
	for i, r := range append(runes, ' ') {
		inside := unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\'' || r == '’'
		capital := inside && start >= 0 && unicode.IsUpper(r) && unicode.IsLower(runes[i-1])
		if start >= 0 && (!inside || capital) {
			all = append(all, word{strings.ToLower(strings.Trim(string(runes[start:i]), "'’")), line})
			start = -1
		}
		if inside && start < 0 {
			start = i
		}
		if r == '\n' {
			line++
		}
	}
	return all
}

// check returns what breaks the rules, as "LINE: ...".
func check(rules []rule, all []word) []string {
	var findings []string
	for i := range all {
		if slices.ContainsFunc(allowed, func(a struct{ text, reason string }) bool { return around(all, i, a.text) }) {
			continue
		}
		for _, r := range rules {
			for _, phrase := range r.not {
				if begins(all[i:], strings.Fields(phrase)) {
					findings = append(findings, fmt.Sprintf("%d: %q: say %s (CONTRIBUTING.md, Words)", all[i].line, phrase, r.say))
				}
			}
		}
	}
	return findings
}

// around reports whether the word at i is one of a text that is there.
func around(all []word, i int, text string) bool {
	phrase := strings.Fields(text)
	for k := range phrase {
		if i-k >= 0 && begins(all[i-k:], phrase) {
			return true
		}
	}
	return false
}

// begins reports whether words begin with a phrase.
func begins(words []word, phrase []string) bool {
	if len(words) < len(phrase) {
		return false
	}
	for i, want := range phrase {
		stem, any := strings.CutSuffix(want, "*")
		if is := words[i].text; is != stem && !(any && strings.HasPrefix(is, stem)) {
			return false
		}
	}
	return true
}

// TestWordsFound: a phrase is found over the end of a line, in strings and in identifiers, and its own line is named.
func TestWordsFound(t *testing.T) {
	rules := []rule{{"green", []string{"blue in part"}}, {"bird", []string{"owl*"}}, {"this", []string{"su" + "ch"}}}
	const text = "package p\n\n// The sky is blue\n// in part.\nvar blueInPart = \"red owlet\" // s" + "uch as this; s" + "uch a one\n" +
		"// no s" + "uch file, no Blue. In the part\nvar s = `a\nblue in` + `part`\n"
	want := []string{"3: \"blue in part\"", "5: \"blue in part\"", "5: \"owl*\"", "5: \"su" + "ch\"", "8: \"blue in part\""}
	var got []string
	for _, f := range check(rules, words("p.go", []byte(text))) {
		found, _, _ := strings.Cut(f, ": say ")
		got = append(got, found)
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	if got := check(rules, words("README.md", []byte("It is blue\nin part."))); len(got) != 1 || got[0] != `1: "blue in part": say green (CONTRIBUTING.md, Words)` {
		t.Errorf("found %q", got)
	}
}
