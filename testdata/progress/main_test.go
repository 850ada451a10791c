package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a test said is printed if it fails, and also if it never comes to its end.
func TestSays(t *testing.T) {
	program := filepath.Join(t.TempDir(), "progress")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	for name, test := range map[string]struct{ body, says string }{
		"fails":   {`t.Error("it fails")`, "it fails"},
		"exits":   {`println("it exits"); os.Exit(3)`, "it exits"},
		"hangs":   {`t.Log("it hangs"); <-(chan int)(nil)`, "panic: test timed out"},
		"panics":  {`panic("it panics")`, "it panics"},
		"passes":  {`t.Log("nobody asks")`, ""},
		"unbuilt": {`undefined`, "undefined: undefined"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range map[string]string{
				"go.mod":    "module example\n\ngo 1.26\n",
				"x_test.go": "package x\n\nimport (\n\"os\"\n\"testing\"\n)\n\nvar _ = os.Exit\n\nfunc TestX(t *testing.T) { " + test.body + " }\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			limit := "10m"
			if name == "hangs" {
				limit = "1s"
			}
			cmd := exec.Command(program, "-count=1", "-timeout", limit, ".")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if failed := test.says != ""; (err != nil) != failed || !strings.Contains(string(out), test.says) {
				t.Errorf("%v; want %q in\n%s", err, test.says, out)
			}
			if again := "failed: TestX: x_test.go:"; name == "fails" && strings.LastIndex(string(out), again) < strings.Index(string(out), "FAIL\texample") {
				t.Errorf("%q is not last in\n%s", again, out)
			}
			if closing := map[bool]string{true: "FAIL", false: "ok  \texample"}[test.says != ""]; !strings.Contains(string(out), closing) {
				t.Errorf("no closing line %q in\n%s", closing, out)
			}
		})
	}
}
