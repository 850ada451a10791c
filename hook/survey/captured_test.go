package survey

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
	"hugeguard/hook/survey/libvirt"
	"hugeguard/sysfs/sysfstest"
	"hugeguard/testdata/golden"
)

// TestCaptured judges launches that were really made on a machine with two nodes, from what that host looked like
// before each (testdata/numabox): what started must not be refused, and what died for want of pages must not be allowed
// without a word. A golden file keeps all verdicts.
func TestCaptured(t *testing.T) {
	files, err := filepath.Glob(hooktest.Data("numabox/captured/*/*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var got strings.Builder
	for _, file := range files {
		suite, name := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(suite+"/"+name, func(t *testing.T) {
			tree := sysfstest.Archive(t, file)
			read := func(name string) []byte {
				data, err := os.ReadFile(tree.Path(name))
				if err != nil {
					t.Fatal(err)
				}
				return data
			}
			var truth struct {
				Started         bool   `json:"started"`
				Outcome         string `json:"outcome"`
				HugePageFailure bool   `json:"huge_page_failure"`
				Error           string `json:"error"`
			}
			if err := json.Unmarshal(read("truth.json"), &truth); err != nil {
				t.Fatal(err)
			}
			demand, err := domain.Parse(read("prepare.xml"))
			if err != nil {
				t.Fatal(err)
			}
			host, _, err := Full(tree.FS(), For(demand), config.Config{}, time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			v := fix.Judge(demand, host)
			host.Releases = guard.Releases{}
			unknowing := fix.Judge(demand, host)
			if _, err := os.Stat(tree.Path(libvirt.CapabilitiesDir)); err == nil && (v.Releases.Libvirt.Version == 0 || v.Releases.QEMU.Version == 0 || v.Releases.Cpuset == nil) {
				t.Errorf("the releases are known only in part: %+v", v.Releases)
			}
			if unknowing.Decision != guard.Warn && v.Decision != unknowing.Decision {
				t.Errorf("%s without knowing the releases, %s with", unknowing.Decision, v.Decision)
			}
			if truth.Started && v.Decision == guard.Refuse {
				t.Errorf("it started, and is refused: %s", words.Summary(v))
			}
			if truth.HugePageFailure && v.Decision == guard.Allow {
				t.Errorf("it failed (%s), and is allowed", truth.Error)
			}
			fmt.Fprintf(&got, "%s/%s: %s: %s %s: %s\n", suite, name, truth.Outcome, v.Decision, v.Cause, words.Summary(v))
			if words.Summary(v) != words.Summary(unknowing) {
				fmt.Fprintf(&got, "  without knowing the releases: %s %s: %s\n", unknowing.Decision, unknowing.Cause, words.Summary(unknowing))
			}
		})
	}
	golden.Compare(t, hooktest.Data("golden/captured.txt"), got.String())
}
