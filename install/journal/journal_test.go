package journal

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/install/installtest"
)

func TestRefusals(t *testing.T) {
	program, seen := installtest.Journalctl(t, "-- No entries --\n"+installtest.Refusal+"\n"+
		// A name that is no UTF-8, a field that occurs twice, one that is null, and what the hook does not write.
		`{"__REALTIME_TIMESTAMP":"1795576381000000","PRIORITY":"4","MESSAGE":"would refuse: node 1","HUGEGUARD_DECISION":"refuse","HUGEGUARD_CAUSE":["guests","b"],"HUGEGUARD_DOMAIN":[103,255,27,10],"HUGEGUARD_UUID":null,"HUGEGUARD_CANARY":"1"}`+"\n"+
		`{"__REALTIME_TIMESTAMP":"1795576380000000","MESSAGE":[[120,27],"b"],"HUGEGUARD_DECISION":"refuse"}`+"\n"+
		strings.ReplaceAll(installtest.Refusal, "1795576382", "1795576379")+"\n", "", "")
	got, err := Journal{Program: program, Patience: time.Hour}.Refusals(context.Background(), 3)
	if err != nil {
		t.Fatal(err)
	}
	want := []Refusal{
		{Time: time.UnixMicro(1795576382000001), Decision: "refuse", Cause: "guests", Domain: `a\\b`, UUID: "6d0f1a52-4a5e-4c5e-9b1d-70a5e000005e", Summary: "node 0 is full", Rest: []string{"and more"}},
		{Time: time.UnixMicro(1795576381000000), Decision: "refuse", Would: true, Cause: "guests", Domain: `g\xff\x1b\n`, Summary: "node 1", Canary: true},
		{Time: time.UnixMicro(1795576380000000), Decision: "refuse", Summary: `x\x1b`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	text, err := os.ReadFile(seen)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"LC_ALL=C", "--no-pager", "--lines=3", "_UID=0", "SYSLOG_IDENTIFIER=hugeguard", "HUGEGUARD_DECISION=refuse"} {
		if !strings.Contains("\n"+string(text), "\n"+line+"\n") {
			t.Errorf("journalctl is run without %s:\n%s", line, text)
		}
	}
	if strings.Contains(string(text), "HOME=") {
		t.Errorf("journalctl has our environment:\n%s", text)
	}
}

// What cannot be read is said, beside what could.
func TestRefusalsUnread(t *testing.T) {
	for name, c := range map[string]struct {
		stdout, stderr, end string
		is                  error
		says                string
		read                int
	}{
		"an ordinary user": {stderr: "Hint: You are currently not seeing messages from other users and the system.\n      Users in groups 'adm', 'systemd-journal' can see all messages.\n", is: ErrHidden},
		"a user without":   {stderr: "No journal files were opened due to insufficient permissions.\n", end: "exit 1", is: ErrHidden},
		"no journal":       {stderr: "No journal files were found.\n", says: "No journal files were found."},
		"a broken file":    {stdout: installtest.Refusal + "\n", stderr: "Journal file /x\x1b is truncated, ignoring file.\n", says: `/x\x1b is truncated`, read: 1},
		"it fails":         {end: "exit 1", says: "exit status 1"},
		"no JSON":          {stdout: installtest.Refusal + "\n{\x1b[31m\n", says: `"{\x1b[31m"`, read: 1},
		"no time":          {stdout: "{}\n", says: "__REALTIME_TIMESTAMP"},
		"too long":         {stdout: installtest.Refusal + "\n{\"a\":\"" + strings.Repeat("x", longestEntry) + "\"}\n", says: "too long", read: 1},
	} {
		program, _ := installtest.Journalctl(t, c.stdout, c.stderr, c.end)
		got, err := Journal{Program: program, Patience: time.Hour}.Refusals(context.Background(), 5)
		if err == nil || len(got) != c.read || !strings.Contains(err.Error(), c.says) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %d refusals, error %v", name, len(got), err)
		}
	}
}

// A journalctl that does not end is not waited for.
func TestRefusalsHung(t *testing.T) {
	program, _ := installtest.Journalctl(t, installtest.Refusal+"\n", "", "exec /bin/sleep 86400")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	got := 0
	err := Journal{Program: program, Patience: time.Hour}.Read(ctx, nil, nil, func(Entry) error {
		got++
		cancel()
		return nil
	})
	if got != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d entries, error %v", got, err)
	}

	program, _ = installtest.Journalctl(t, "", "", "exec /bin/sleep 86400")
	if _, err := (Journal{Program: program, Patience: time.Millisecond}).Refusals(context.Background(), 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
