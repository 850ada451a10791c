package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryMessageIsExplained: the page that finds the cause by the message has each message of QEMU's and of libvirt's
// that the tests know, and each that people report of starts that libvirt decides.
func TestEveryMessageIsExplained(t *testing.T) {
	text, err := os.ReadFile("../doc/README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	messages := append(literals(t, "../../testdata/numabox/truth.go", "(?m)^\t\\{[a-zA-Z]+, regexp.MustCompile\\(`([^`(^]+)`\\)"),
		literals(t, "../../testdata/grammar/odd.go", `refused: "([^"]*(?:hugetlbfs|unavailable)[^"]*)"`)...)
	messages = append(messages, literals(t, "../../testdata/livehost/native_test.go", `"(Unable to find[^"]*)"`)...)
	if len(messages) < 12 {
		t.Fatalf("the tests know only of %q", messages)
	}
	for _, message := range append(messages, "Operation not permitted", "Unable to find any usable hugetlbfs mount", "Memory backend 'pc.ram' not found",
		"hugetlbfs filesystem is not mounted or disabled by administrator config", "'-mem-path' can't be used together") {
		if !strings.Contains(page, message) {
			t.Errorf("install/doc/README.md does not have %q", message)
		}
	}
}

// literals returns what a pattern finds in a source, each alternative for itself, and numbers of nodes as N.
func literals(t *testing.T, source, pattern string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		for _, message := range strings.Split(m[1], "|") {
			found = append(found, regexp.MustCompile(`node \d+`).ReplaceAllString(message, "node N"))
		}
	}
	if found == nil {
		t.Fatalf("%s has none", source)
	}
	return found
}
