package counts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/install/installtest"
	"hugeguard/install/journal"
)

// counted is an entry as journalctl prints it, number n of its file.
func counted(n int, fields string) string {
	return fmt.Sprintf(`{"__CURSOR":"%s","__REALTIME_TIMESTAMP":"1795576382000001"%s}`+"\n", cursorOf("aa", n), fields)
}

func cursorOf(file string, n int) string {
	return fmt.Sprintf("s=%s;i=%x;b=b0;m=%x;t=%x;x=c%d", file, n, 1000+n, 9000+n, n)
}

const (
	refusedGuests = `,"PRIORITY":"3","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":"guests"`
	wouldGuests   = `,"PRIORITY":"4","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":"guests"`
)

// nonzero returns all that was counted, and which counts lack a cause.
func (c Counts) nonzero() string {
	var text []string
	for i := range reflect.TypeFor[Counts]().NumField() {
		name := strings.ToLower(reflect.TypeFor[Counts]().Field(i).Name)
		switch count := reflect.ValueOf(c).Field(i).Interface().(type) {
		case map[guard.Cause]uint64:
			for _, cause := range append(guard.Causes(), Other) {
				n, ok := count[cause]
				if !ok {
					text = append(text, fmt.Sprintf("%s lacks %s", name, cause))
				}
				if n > 0 {
					text = append(text, fmt.Sprintf("%s %s=%d", name, cause, n))
				}
			}
		case uint64:
			if count > 0 {
				text = append(text, fmt.Sprintf("%s=%d", name, count))
			}
		}
	}
	slices.Sort(text)
	return strings.Join(text, ", ")
}

// Each kind of entry counts where it belongs, once.
func TestCounts(t *testing.T) {
	program, seen := installtest.Journalctl(t, counted(1, refusedGuests)+
		counted(2, wouldGuests)+
		counted(3, `,"PRIORITY":"3","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":"ovs-reservation"`)+
		counted(4, `,"PRIORITY":"3","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":"not known yet"`)+
		counted(5, refusedGuests+`,"HUGEGUARD_CANARY":"1"`)+
		counted(6, `,"PRIORITY":"4","HUGEGUARD_DECISION":"warn"`)+
		counted(7, `,"PRIORITY":"4"`)+
		counted(8, refusedGuests), "", "")
	c := newCounts()
	if err := c.update(context.Background(), journal.Journal{Program: program, Patience: time.Hour}); err != nil {
		t.Fatal(err)
	}
	const want = "faults=1, refused guests=2, refused other=1, refused ovs-reservation=1, warned=1, would guests=1"
	if got := c.nonzero(); got != want || c.Cursor != cursorOf("aa", 8) {
		t.Errorf("%s, up to %s\nwant %s", got, c.Cursor, want)
	}
	for i := range reflect.TypeFor[Counts]().NumField() {
		if reflect.ValueOf(c).Field(i).IsZero() {
			t.Errorf("nothing here counts as %s", reflect.TypeFor[Counts]().Field(i).Name)
		}
	}
	args, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"_UID=0", "_TRANSPORT=journal", "SYSLOG_IDENTIFIER=hugeguard"} {
		if !strings.Contains("\n"+string(args), "\n"+line+"\n") {
			t.Errorf("journalctl is run without %s:\n%s", line, args)
		}
	}
	if strings.Contains(string(args), "cursor") {
		t.Errorf("the first time there is no cursor:\n%s", args)
	}
}

// From one run to the next no entry counts twice, and none is left out, whatever the journal still has.
func TestCountsContinue(t *testing.T) {
	for name, test := range map[string]struct {
		stdout string
		want   uint64 // of refused guests, 5 before
	}{
		"nothing new":                     {counted(3, refusedGuests), 5},
		"two more":                        {counted(3, refusedGuests) + counted(4, refusedGuests) + counted(5, refusedGuests), 7},
		"the last is forgotten":           {counted(4, refusedGuests), 6},
		"all is forgotten":                {"", 5},
		"moved to another file":           {strings.ReplaceAll(counted(3, refusedGuests)+counted(4, refusedGuests), "s=aa;i=", "s=bb;i=7"), 6},
		"another of the same microsecond": {strings.ReplaceAll(counted(3, refusedGuests), "x=c3", "x=d3"), 6},
	} {
		program, seen := installtest.Journalctl(t, test.stdout, "", "")
		c := newCounts()
		c.Refused[guard.CauseGuests], c.Cursor = 5, cursorOf("aa", 3)
		if err := c.update(context.Background(), journal.Journal{Program: program, Patience: time.Hour}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.Refused[guard.CauseGuests]; got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
		args, err := os.ReadFile(seen)
		if err != nil {
			t.Fatal(err)
		}
		if line := "\n--cursor=" + cursorOf("aa", 3) + "\n"; !strings.Contains(string(args), line) {
			t.Errorf("%s: journalctl is run without %s:\n%s", name, line, args)
		}
	}
}

// What is counted before the journal fails counts, and the next run continues there.
func TestCountsCutShort(t *testing.T) {
	program, _ := installtest.Journalctl(t, counted(1, refusedGuests)+"{}\n", "", "")
	c := newCounts()
	if err := c.update(context.Background(), journal.Journal{Program: program, Patience: time.Hour}); err == nil || c.nonzero() != "refused guests=1" || c.Cursor != cursorOf("aa", 1) {
		t.Errorf("%s, up to %q, error %v", c.nonzero(), c.Cursor, err)
	}
	hidden, _ := installtest.Journalctl(t, "", "No journal files were opened due to insufficient permissions.\n", "exit 1")
	if err := c.update(context.Background(), journal.Journal{Program: hidden, Patience: time.Hour}); !errors.Is(err, journal.ErrHidden) || c.nonzero() != "refused guests=1" {
		t.Errorf("%s, error %v", c.nonzero(), err)
	}
}

// What is kept is read again as it was; what makes no sense is not followed, and said.
func TestCountsKept(t *testing.T) {
	name := filepath.Join(t.TempDir(), "metrics.json")
	if c, kept, err := read(name); kept || err != nil || c.nonzero() != "" {
		t.Errorf("%v, %v of no file: %s", kept, err, c.nonzero())
	}
	const good = `{"refused":{"guests":3},"would_refuse":{},"warned":1,"faults":2,"cursor":"s=aa;i=1"}`
	if err := os.WriteFile(name, []byte(good), 0o644); err != nil {
		t.Fatal(err)
	}
	want := newCounts()
	want.Refused[guard.CauseGuests], want.Warned, want.Faults, want.Cursor = 3, 1, 2, "s=aa;i=1"
	if c, kept, err := read(name); !kept || err != nil || !cmp.Equal(c, want) {
		t.Errorf("%v, %v\n%s", kept, err, cmp.Diff(want, c))
	}
	for _, bad := range []string{"", good[:40], `{"refused":null,"would_refuse":{}}`, strings.Replace(good, "s=aa", "--file=x", 1), strings.Replace(good, "3", "-3", 1)} {
		if err := os.WriteFile(name, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if c, kept, err := read(name); kept || err == nil || !strings.Contains(err.Error(), name) || c.nonzero() != "" || c.Cursor != "" {
			t.Errorf("%q: %v, %v: %s", bad, kept, err, c.nonzero())
		}
	}
}

// What cannot be read this time does not start again at zero.
func TestCountsUnread(t *testing.T) {
	if _, kept, err := read(t.TempDir()); kept || !errors.Is(err, errUnread) {
		t.Errorf("%v, %v", kept, err)
	}
}
