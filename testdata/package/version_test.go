package package_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The version is that of the tag or of the changelog, whatever there is of git, and sorts as it came to be.
func TestVersion(t *testing.T) {
	t.Parallel()
	outer := t.TempDir()
	dir := filepath.Join(outer, "source")
	script, err := os.ReadFile(filepath.Join(repository, "install/package/version.sh"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b.invalid"}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-02-03T04:05:06+01:00")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, text)
		}
	}
	put("install/package/version.sh", string(script))
	put("CHANGELOG.md", "# Changelog\n\n## 1.2.0, not yet released\n\n## 1.1.0, 1 May\n")
	if text, err := exec.Command("git", "init", "-q", outer).CombinedOutput(); err != nil { // of something else
		t.Fatalf("%v: %s", err, text)
	}
	var last string
	is := func(when, pattern string) {
		t.Helper()
		now := strings.TrimSpace(output(t, filepath.Join(dir, "install/package/version.sh")))
		if !regexp.MustCompile("^" + pattern + "$").MatchString(now) {
			t.Errorf("%s it is %s, want %s", when, now, pattern)
		}
		if last != "" && exec.Command("dpkg", "--compare-versions", last, "lt", now).Run() != nil {
			t.Errorf("%s it is %s, which is not later than %s", when, now, last)
		}
		last = now
	}
	is("without git", "1\\.2\\.0~unreleased")
	last = "1.1.0"
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	is("after a commit", "1\\.2\\.0~20260203030506\\.[0-9a-f]{7,}")
	git("tag", "other")
	git("tag", "v1.2.0")
	is("at the tag", "1\\.2\\.0")
	git("commit", "-q", "--allow-empty", "-m", "two")
	is("after the tag", "1\\.2\\.0\\+1\\.g[0-9a-f]{7,}")
	put("CHANGELOG.md", "# Changelog\n\n## 1.2.1, 2 May\n")
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	is("in a released archive", "1\\.2\\.1")
}
