package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"hugeguard/guard"
)

var two = Ledger{Boot: "b", Claims: []Claim{
	{UUID: "1", Name: "a", Since: 5 * time.Second, Daemon: Process{7, time.Second}, Parts: []Part{
		{PageKiB: 2048, Pages: 256, Nodes: []int{0}, Hard: true},
		{PageKiB: 1 << 20, Pages: 1, Cpuset: guard.Cpuset{Nodes: guard.NodeSet{0}, Union: guard.NodeSet{0, 1}}}}},
	{UUID: "2", Name: "b", Since: 6 * time.Second, QEMU: Process{9, 6 * time.Second}, Progress: 7 * time.Second, PostCopy: true, Parts: []Part{{PageKiB: 2048, Pages: 7, Nodes: []int{0, 1}, Hard: true, Taken: 2, Mapped: 4}}},
}}

func TestRoundTrip(t *testing.T) {
	text := two.Text()
	if got, err := Parse(text, "b"); err != nil || !reflect.DeepEqual(got, two) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := Parse(text, "another"); err != nil || !reflect.DeepEqual(got, Ledger{Boot: "another"}) {
		t.Errorf("of another boot: %+v, %v", got, err)
	}
}

// TestText: whatever is in a ledger, it is read as it was written, in lines.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Ledger{Boot: rapid.String().Draw(t, "boot"), Claims: rapid.SliceOf(rapid.Make[Claim]()).Draw(t, "claims")}
		for i := range want.Claims {
			for k := range want.Claims[i].Parts {
				possible(&want.Claims[i].Parts[k])
			}
			if err := want.Claims[i].Check(); err != nil {
				t.Fatal(err)
			}
		}
		text := want.Text()
		got, err := Parse(text, want.Boot)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s\n%s", text, diff)
		}
		if !slices.EqualFunc(got.Claims, want.Claims, func(a, b Claim) bool {
			return slices.EqualFunc(a.Parts, b.Parts, func(a, b Part) bool { return (a.Nodes == nil) == (b.Nodes == nil) })
		}) {
			t.Fatalf("no nodes are not any nodes: %s", text)
		}
	})
}

// possible makes any part one that a host can have.
func possible(p *Part) {
	p.PageKiB = p.PageKiB%(1<<40) + 1
	p.Pages %= 1 << 40
	p.Taken %= p.Pages + 1
	p.Mapped %= p.Pages - p.Taken + 1
	p.Cpuset.Auto = false
	for _, nodes := range [][]int{p.Nodes, p.Cpuset.Nodes, p.Cpuset.Union} {
		for i := range nodes {
			nodes[i] &= 1<<16 - 1
		}
		slices.Sort(nodes)
	}
}

// TestTextShown: this is what it looks like.
func TestTextShown(t *testing.T) {
	const want = `hugeguard claims 2 boot "b"
"a" uuid "1" since 5000000000 daemon 7 1000000000 before 0 qemu 0 0 progress 0
 256 pages of 2048 KiB taken 0 mapped 0 hard true nodes 0 cpuset any any false
 1 pages of 1048576 KiB taken 0 mapped 0 hard false nodes any cpuset 0 0,1 false
"b" uuid "2" since 6000000000 daemon 0 0 before 0 qemu 9 6000000000 progress 7000000000
 by post-copy
 7 pages of 2048 KiB taken 2 mapped 4 hard true nodes 0,1 cpuset any any false
end
`
	if got := string(two.Text()); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestPutAndDrop(t *testing.T) {
	l := Ledger{Claims: append([]Claim(nil), two.Claims...)}
	l.Put(Claim{UUID: "1", Name: "renamed"})
	l.Put(Claim{UUID: "3", Name: "b"})
	if len(l.Claims) != 2 || l.Claims[0].Name != "renamed" || l.Claims[1].UUID != "3" {
		t.Errorf("%+v", l.Claims)
	}
	if l.Drop("a") || !l.Drop("b") || len(l.Claims) != 1 {
		t.Errorf("%+v", l.Claims)
	}
	// Domains without a UUID are told by their names, and what nobody has looked at for an hour is over.
	l = Ledger{}
	l.Put(Claim{Name: "a", Since: time.Minute})
	l.Put(Claim{Name: "b", Since: time.Minute, Progress: 2 * time.Minute})
	l.Put(Claim{Name: "c", Since: 61*time.Minute + 1})
	if len(l.Claims) != 2 || l.Claims[0].Name != "b" || l.Claims[1].Name != "c" {
		t.Errorf("%+v", l.Claims)
	}
}

// dropped checks that a ledger's text without a domain's claim is as that of the ledger which has dropped it.
func dropped(t *testing.T, text []byte, name string) {
	t.Helper()
	l, err := Parse(text, "b")
	if err != nil {
		t.Fatal(err)
	}
	l.Drop(name)
	var want []byte
	if len(l.Claims) > 0 {
		want = l.Text()
	}
	if got := Without(text, "b", name); !bytes.Equal(got, want) {
		t.Fatalf("without %q:\n%s\nwant\n%s", name, got, want)
	}
}

func TestWithout(t *testing.T) {
	names := []string{"a", `"`, `a" uuid "b`, "\n", "\nend\n", "end", "<&>\u2028\xff", "", "a ", " a", "`a`", strings.Repeat("x", 255)}
	l := Ledger{Boot: "b"}
	for i, name := range names {
		l.Put(Claim{UUID: `"b" uuid ` + fmt.Sprint(i), Name: name, Parts: two.Claims[0].Parts})
	}
	text := l.Text()
	for _, name := range append(names, "b", "nobody") {
		dropped(t, text, name)
	}
	for _, name := range names {
		if len(text) == 0 {
			t.Fatal(name)
		}
		text = Without(text, "b", name)
	}
	if len(text) > 0 {
		t.Errorf("%s", text)
	}
	// What makes no sense goes.
	whole := two.Text()
	for _, text := range []string{"", "{}", string(whole[:len(whole)-2]), string(whole[1:])} {
		if rest := Without([]byte(text), "b", "a"); rest != nil {
			t.Errorf("%q is left of %q", rest, text)
		}
	}
	if rest := Without(whole, "another", "a"); rest != nil {
		t.Errorf("of another boot: %q", rest)
	}
}

func TestEnded(t *testing.T) {
	q, other, daemon := Process{9, 6 * time.Second}, Process{9, 7 * time.Second}, Process{7, time.Second}
	had := func(first, second uint64) []Part { return []Part{{Pages: 8, Taken: first}, {Pages: 2, Taken: second}} }
	for _, c := range []struct {
		name  string
		claim Claim
		seen  Seen
		want  bool
	}{
		{"just allowed", Claim{Since: 5}, Seen{Now: 5}, false},
		{"no QEMU yet", Claim{Since: 5}, Seen{Now: 15}, false},
		{"no QEMU in time", Claim{Since: 5}, Seen{Now: 16}, true},
		{"from the future", Claim{Since: 5}, Seen{Now: 4}, true},
		{"QEMU, however long", Claim{Since: 5}, Seen{Now: 99, QEMU: q}, false},
		{"QEMU has its pages", Claim{Since: 5, Parts: had(0, 0)}, Seen{Now: 6, QEMU: q, Looked: true, Parts: had(8, 2)}, true},
		{"QEMU has not all of its pages", Claim{Since: 5, Parts: had(0, 0)}, Seen{Now: 99, QEMU: q, Looked: true, Parts: had(7, 2)}, false},
		{"QEMU takes no more", Claim{Since: 5, QEMU: q, Parts: had(7, 2), Progress: 88}, Seen{Now: 99, QEMU: q, Looked: true, Parts: had(8, 1)}, true},
		{"QEMU took one", Claim{Since: 5, QEMU: q, Parts: had(6, 2), Progress: 88}, Seen{Now: 99, QEMU: q, Looked: true, Parts: had(8, 1)}, false},
		{"QEMU took none for a while", Claim{Since: 5, QEMU: q, Parts: had(7, 2), Progress: 89}, Seen{Now: 99, QEMU: q, Looked: true, Parts: had(7, 2)}, false},
		{"QEMU cannot be looked at", Claim{Since: 5, QEMU: q, Parts: had(7, 2), Progress: 88}, Seen{Now: 99, QEMU: q}, false},
		{"the same QEMU", Claim{Since: 5, QEMU: q}, Seen{Now: 99, QEMU: q}, false},
		{"another QEMU", Claim{Since: 5, QEMU: q}, Seen{Now: 6, QEMU: other}, true},
		{"QEMU is gone", Claim{Since: 5, QEMU: q}, Seen{Now: 6}, true},
		{"the same daemon", Claim{Since: 5, Daemon: daemon}, Seen{Now: 6, Daemon: daemon}, false},
		{"no daemon", Claim{Since: 5, Daemon: daemon}, Seen{Now: 6}, true},
		{"another daemon", Claim{Since: 5, Daemon: daemon}, Seen{Now: 6, Daemon: q}, true},
		{"another daemon, with QEMU", Claim{Since: 5, Daemon: daemon}, Seen{Now: 6, Daemon: other, QEMU: q}, false},
	} {
		if got := c.claim.Ended(c.seen, 10); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestSee: progress is that of one QEMU, and of fewer pages that it lacks.
func TestSee(t *testing.T) {
	q, other := Process{9, 6 * time.Second}, Process{9, 7 * time.Second}
	has := func(taken, mapped, second uint64) []Part {
		return []Part{{Pages: 8, Taken: taken, Mapped: mapped}, {Pages: 2, Taken: second}}
	}
	c := Claim{Since: 5, Parts: has(0, 0, 0)}
	for i, step := range []struct {
		seen     Seen
		news     bool
		parts    []Part
		progress time.Duration
	}{
		{Seen{Now: 6}, false, has(0, 0, 0), 0},
		{Seen{Now: 7, QEMU: q}, true, has(0, 0, 0), 0},
		{Seen{Now: 8, QEMU: q, Looked: true, Parts: has(1, 0, 0)}, true, has(1, 0, 0), 8},
		{Seen{Now: 9, QEMU: q, Looked: true, Parts: has(0, 0, 1)}, true, has(0, 0, 1), 8},
		{Seen{Now: 10, QEMU: q, Looked: true, Parts: has(1, 7, 0)}, true, has(1, 7, 0), 8},
		{Seen{Now: 11, QEMU: q, Looked: true, Parts: has(1, 7, 0)}, false, has(1, 7, 0), 8},
		{Seen{Now: 12, QEMU: q, Looked: true, Parts: has(0, 8, 0)}, true, has(0, 8, 0), 8},
		{Seen{Now: 13, QEMU: q, Looked: true, Parts: has(2, 0, 0)}, true, has(2, 0, 0), 13},
		{Seen{Now: 14, QEMU: q}, false, has(2, 0, 0), 13},
		{Seen{Now: 15, QEMU: other, Looked: true, Parts: has(1, 0, 0)}, true, has(1, 0, 0), 15},
		{Seen{Now: 16}, true, has(0, 0, 0), 0},
	} {
		news := c.See(step.seen)
		if news != step.news || !reflect.DeepEqual(c.Parts, step.parts) || c.Progress != step.progress || c.QEMU != step.seen.QEMU {
			t.Errorf("step %d: news %v, %+v", i, news, c)
		}
	}
}

func FuzzParse(f *testing.F) {
	text := two.Text()
	with := func(old, new string) string { return strings.Replace(string(text), old, new, 1) }
	for _, seed := range []string{string(text), "", "{}", string(head("b")), string(head("another")) + tail, with("claims 2", "claims 3"), with(tail, ""), with("\n", ""),
		with(" 256 ", " 18446744073709551615 "), with(" 256 ", " 256  "), with(" 256 ", " -1 "), with("nodes 0 ", "nodes 1,0 "), with("nodes 0 ", "nodes none "), with("taken 0", "taken 257"),
		with("taken 2 mapped 4", "taken 2 mapped 6"), with("cpuset 0 0,1 false", "cpuset 0,2 0,2 true"), with("daemon 7", "daemon x"), with(`"a"`, "`a`"), with(`"a"`, `"\x61"`)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := Parse(text, "b")
		if l.Boot != "b" {
			t.Fatalf("%+v", l)
		}
		if err != nil {
			if len(l.Claims) > 0 || errors.Unwrap(err) == nil && err.Error() == "" {
				t.Fatalf("%+v, %v", l, err)
			}
			return
		}
		// What was taken can be written and taken again.
		again := l.Text()
		if same, err := Parse(again, "b"); err != nil || len(same.Claims) != len(l.Claims) {
			t.Fatalf("%s: %v", again, err)
		}
		for _, c := range l.Claims {
			dropped(t, again, c.Name)
		}
		for _, c := range l.Claims {
			for _, p := range c.Parts {
				if p.PageKiB == 0 || p.PageKiB > 1<<40 || p.Pages > 1<<40 || p.Taken > p.Pages || p.Mapped > p.Pages-p.Taken || !slices.IsSorted(p.Nodes) {
					t.Fatalf("%+v", p)
				}
			}
		}
	})
}
