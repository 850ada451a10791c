package hook

import (
	"encoding/json"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/hooktest"
)

// testChildren are children that do what a child may do, by the name of the domain.
var testChildren = map[string]func(reports io.Writer){
	"dies":   func(io.Writer) {},
	"hangs":  func(io.Writer) { select {} },
	"raves":  func(w io.Writer) { io.WriteString(w, "{\x00\n"+goodReport) },
	"floods": func(w io.Writer) { flood(w) },
	"lies":   func(w io.Writer) { io.WriteString(w, `{"Answer":{"Status":7}}`+"\n"+goodReport) },
	"forges": func(w io.Writer) { io.WriteString(w, `{"Answer":{"Status":1,"Line":"a\nb"}}`+"\n"+goodReport) },
	"half":   func(w io.Writer) { io.WriteString(w, goodReport[:len(goodReport)-2]); select {} },
	"better": func(w io.Writer) { io.WriteString(w, goodReport+`{"Note":"ready"}`+"\n"+`{"Answer":{"Sta`); select {} },
	"best":   func(w io.Writer) { io.WriteString(w, strings.Replace(goodReport, "the child", "worse", 1)+goodReport) },
	"notes":  func(w io.Writer) { io.WriteString(w, `{"Note":"of the ledger"}`+"\n"+goodReport) },
	// As what is left after a configuration that was read from elsewhere.
	"exempts": func(w io.Writer) { settle(w, func(c *config.Config) { c.Exempt = []string{"exempts"} }) },
	"fails": func(w io.Writer) {
		settle(w, func(c *config.Config) { c.Exempt, c.Fail = []string{"fails"}, config.FailClosed })
	},
	"refuses": func(w io.Writer) { settle(w, func(c *config.Config) { c.ExemptMetadata = false }) },
	"passes":  func(w io.Writer) { io.WriteString(w, "{\"Answer\":{\"Status\":0}}\n") },
}

const goodReport = `{"Answer":{"Status":1,"Line":"from the child","Entry":{"Message":"from the child","Priority":3}}}` + "\n"

// settle reports a configuration and hangs.
func settle(w io.Writer, change func(*config.Config)) {
	config := config.Default()
	config.Deadline = 10 * time.Millisecond
	change(&config)
	line, _ := json.Marshal(report{Settings: &settled{Config: config}})
	w.Write(append(line, '\n'))
	select {}
}

func flood(w io.Writer) {
	for {
		if _, err := io.WriteString(w, strings.Repeat("[", 64<<10)); err != nil {
			return
		}
	}
}

// testChild is one of them, or the real one.
func testChild(args []string) int {
	behave := testChildren[args[1]]
	if behave == nil {
		return Run(args, nil, nil)
	}
	reports := os.NewFile(childReports, "reports")
	behave(reports)
	reports.Close() // the race detector lets a program end late
	return 0
}

// TestChild: whatever becomes of the child, the best that it has said in time stands, else what the counters say.
func TestChild(t *testing.T) {
	const own, better = "node 0 is short of 2M pages: 0 of 1024 free", "from the child"
	for name, want := range map[string]string{
		"dies": own, "hangs": own, "raves": own, "floods": own, "lies": own, "forges": own, "half": own,
		"best": better, "notes": better, "passes": "",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
			f.apart = true
			f.args[1] = name
			deadline := "1m"
			if name == "hangs" || name == "half" {
				deadline = "1s" // nothing else ends the call; the counters are to be read in it, on a busy machine too
			}
			f.host.Write(config.Path, "deadline = "+deadline+"\n")
			status := f.call.prepare() // in the time of the child
			if want == "" {
				if status != exitAccept || f.stderr.Len() > 0 || len(f.entries) > 0 {
					t.Errorf("status %d, %q, %+v", status, &f.stderr, f.entries)
				}
				return
			}
			if status != exitRefuse || !strings.HasPrefix(f.stderr.String(), want) {
				t.Errorf("status %d, %q; want %q", status, &f.stderr, want)
			}
			entries := 1
			if name == "notes" {
				entries = 2
			}
			if len(f.entries) != entries || !strings.HasPrefix(f.entries[entries-1].Message, want) {
				t.Fatalf("journal: %+v", f.entries)
			}
			if got := f.entries[0].Fields["HUGEGUARD_NOT_KNOWN"]; want == own && got != "holders,ovs,nova" {
				t.Errorf("not known: %q, want all", got)
			}
		})
	}
}

// TestChildIsLate: what a child has said stands when the time is up, although the child continues.
func TestChildIsLate(t *testing.T) {
	f := newFixture(t, nil)
	f.apart = true
	f.args[1] = "better"
	timer := time.NewTimer(time.Hour)
	f.journal = func(entry) error { timer.Reset(0); return nil } // its note comes after its answer
	known := true
	best := f.ask(&memory{}, time.Now(), timer, &known)
	if best == nil || best.Status != exitRefuse || best.Line != "from the child" {
		t.Errorf("%+v", best)
	}
}

// TestChildSettles: where nobody but the child can read the configuration, a domain is
// exempt by that, whether or not the child says any more.
func TestChildSettles(t *testing.T) {
	exempt := strings.Replace(hooktest.Domain(t, "prepare.xml"), "<devices>",
		"<metadata><x:exempt xmlns:x='urn:hugeguard:1'/></metadata><devices>", 1)
	for _, test := range []struct {
		name, xml string
		status    int
		says      string
	}{
		{"exempts", strings.ReplaceAll(hooktest.Domain(t, "prepare.xml"), "instance-00000003", "exempts"), exitAccept, "allowed: exempt by pattern exempts"},
		{"fails", strings.ReplaceAll(hooktest.Domain(t, "prepare.xml"), "instance-00000003", "fails"), exitAccept, "allowed: exempt by pattern fails"},
		{"refuses", exempt, exitRefuse, "node 0 is short of 2M pages: 0 of 1024 free"},
	} {
		f := newFixture(t, strings.NewReader(test.xml))
		f.apart, f.args[1] = true, test.name
		f.config, f.far = config.Default(), f.fs
		f.config.Deadline = time.Minute // it is the child's that ends
		if test.name == "fails" {
			f.host.Remove("sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages")
		}
		if status := f.answerInTime(time.Now(), false); status != test.status || len(f.entries) != 1 || !strings.Contains(f.entries[0].Message, test.says) {
			t.Errorf("%s: status %d, journal %+v", test.name, status, f.entries)
		}
	}
}

// TestNoHugePagesAsksNobody: a domain without huge pages is allowed under every configuration, and no child is asked.
func TestNoHugePagesAsksNobody(t *testing.T) {
	f := newFixture(t, strings.NewReader("<domain type='kvm'><name>better</name><memory>1</memory></domain>"))
	f.apart, f.args[1] = true, "better"
	f.config, f.far = config.Default(), f.fs
	f.config.Deadline = time.Minute
	if status := f.answerInTime(time.Now(), false); status != exitAccept || len(f.entries) > 0 {
		t.Errorf("status %d, journal %+v", status, f.entries)
	}
}

// TestChildIsReaped: nothing of a child is left, however it ends.
func TestChildIsReaped(t *testing.T) {
	usual := reapPatience
	defer func() { reapPatience = usual }()
	reapPatience = time.Minute
	for err := error(nil); err != syscall.ECHILD; { // of tests before this one
		_, err = syscall.Wait4(-1, nil, 0, nil)
	}
	for _, name := range []string{"dies", "hangs"} {
		c := call{args: []string{"qemu", name}, apart: true}
		child, err := c.askChild(&memory{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if name == "dies" {
			for range child.reports { // to its end
			}
		}
		child.end()
		if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Errorf("%s: %d is left, %v", name, pid, err)
		}
	}
}

// TestChildCannotBeStarted: the verdict by the counters stands, and it is said why no more is known.
func TestChildCannotBeStarted(t *testing.T) {
	f := newFixture(t, strings.NewReader(hooktest.Domain(t, "prepare.xml")))
	f.apart = true
	f.args[1] = "a name that cannot be an argument\x00"
	if status := f.call.prepare(); status != exitRefuse || len(f.entries) != 2 || !strings.Contains(f.entries[0].Message, "holders were not examined: ") {
		t.Errorf("status %d, %+v", status, f.entries)
	}
	if !strings.HasPrefix(f.stderr.String(), "node 0 is short of 2M pages: 0 of 1024 free") {
		t.Errorf("stderr %q", &f.stderr)
	}
}

// TestChildSaysTheSame: by the child and by one process it is the same that is said.
func TestChildSaysTheSame(t *testing.T) {
	// No machine has pages of this size, whatever else runs there.
	xml := strings.NewReplacer("size='2048'", "size='3072'", "<hugepages>", "<source type='memfd'/><hugepages>").Replace(hooktest.Domain(t, "prepare.xml"))
	says := func(apart bool) []string {
		var stderr strings.Builder
		said := []string{}
		c := call{args: []string{"qemu", "instance-00000003", "prepare", "begin", "-"}, stdin: strings.NewReader(xml), stderr: &stderr,
			apart: apart, privileged: os.Geteuid() == 0, journal: func(e entry) error {
				first, _, _ := strings.Cut(e.Message, "\n") // who holds pages meanwhile is below
				said = append(said, first, e.Fields["HUGEGUARD_CAUSE"])
				return nil
			}}
		if status := c.prepare(); status != exitRefuse {
			t.Errorf("status %d", status)
		}
		return append(said, stderr.String())
	}
	within, apart := says(false), says(true)
	if !reflect.DeepEqual(within, apart) || len(within) != 3 || within[1] != string(guard.CausePageSizeUnsupported) {
		t.Errorf("%q, and by a child %q", within, apart)
	}
}

// FuzzReport: what a child reports can make the program say nothing but what it could say by itself.
func FuzzReport(f *testing.F) {
	f.Add([]byte(goodReport))
	for _, r := range []report{
		{Settings: &settled{Config: config.Default(), Warning: "line 1"}}, {Note: "x"}, {Answer: &answer{}},
		{Answer: &answer{Entry: &entry{Message: "a\nb", Priority: warning, Fields: map[string]string{"HUGEGUARD_NODE": "0"}}}},
	} {
		line, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		if again, err := parseReport(line); err != nil || !reflect.DeepEqual(again, r) {
			f.Fatalf("%s: %+v, %v", line, again, err)
		}
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseReport(line)
		if err != nil {
			return
		}
		if r.Settings != nil {
			if c := r.Settings.Config; c.Deadline < 10*time.Millisecond || c.Deadline > time.Minute || c.WaitForStarting < 0 || c.WaitForStarting > 30*time.Second {
				t.Errorf("%q: %+v", line, c)
			}
		}
		if r.Answer == nil {
			return
		}
		var stderr strings.Builder
		c := call{stderr: &stderr, journal: func(e entry) error {
			if guard.Printable(strings.NewReplacer("\n", "", "\\", "").Replace(e.Message), len(e.Message)) != strings.NewReplacer("\n", "", "\\", "").Replace(e.Message) {
				t.Errorf("the journal has %q", e.Message)
			}
			for key := range e.Fields {
				if key != "MESSAGE_ID" && !strings.HasPrefix(key, "HUGEGUARD_") {
					t.Errorf("the journal has %q", key)
				}
			}
			return nil
		}}
		status := c.say(*r.Answer)
		said := stderr.String()
		if status != exitAccept && (status != exitRefuse || said == "") || status == exitAccept && said != "" || !plainText(said) || strings.Contains(said, "\n") {
			t.Errorf("%q: status %d, %q", line, status, &stderr)
		}
	})
}
