package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"

	"hugeguard/guard"
	"hugeguard/install/journal"
	"hugeguard/install/status"
	"hugeguard/sysfs"
)

// A bar has as many cells as it is wide, each sort its share to within a cell, and none that is there is lost.
func TestCells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shares := rapid.SliceOfN(rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 5), rapid.Uint64()), len(fills), len(fills)).Draw(t, "shares")
		columns := rapid.IntRange(len(fills), 200).Draw(t, "columns")
		n := cells(shares, columns)
		var total float64
		for _, s := range shares {
			total += float64(s)
		}
		sum, there := 0, 0
		for _, k := range n {
			sum += k
		}
		for _, s := range shares {
			if s > 0 {
				there++
			}
		}
		if total > 0 && sum != columns || total == 0 && sum != 0 {
			t.Fatalf("%v: %d cells of %d", n, sum, columns)
		}
		for i, s := range shares {
			exact := float64(s) / total * float64(columns)
			if (n[i] == 0) != (s == 0) || float64(n[i]) > exact+1 || float64(n[i]) < exact-float64(there) {
				t.Fatalf("%v of %v: %d cells for %v", n, shares, n[i], exact)
			}
		}
	})
}

// Fewer cells than sorts are given to some of them.
func TestCellsNarrow(t *testing.T) {
	if got := cells([]uint64{1, 1, 5}, 2); got[0]+got[1]+got[2] != 2 || slices.Min(got) < 0 || got[2] == 0 {
		t.Errorf("%v", got)
	}
}

// No line is wider than the page, no letter is lost, and words stay whole where they fit.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[a-z客é]{1,30}( [a-z]{1,9}){0,2}`)).Draw(t, "words")
		p := page{look: look{columns: rapid.IntRange(fewestColumns, 90).Draw(t, "columns"), unicode: rapid.Bool().Draw(t, "unicode")}}
		lines := p.wrap(words, 2)
		for _, l := range lines {
			if runewidth.StringWidth(l) > p.columns || strings.HasSuffix(l, " ") {
				t.Fatalf("%q is no line of %d columns", l, p.columns)
			}
			if !p.unicode && strings.ContainsFunc(l, func(r rune) bool { return r >= 0x80 }) {
				t.Fatalf("%q is no ASCII", l)
			}
		}
		squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got, want := squeeze(strings.Join(lines, "")), squeeze(p.legible(strings.Join(words, ""))); got != want {
			t.Fatalf("%q has become %q", want, got)
		}
		for _, w := range words {
			if runewidth.StringWidth(p.legible(w)) <= p.columns-4 && !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, p.legible(w)) }) {
				t.Fatalf("%q is torn apart in %q", w, lines)
			}
		}
	})
}

// What is promised of the free pages is drawn where it must lie, and once if it is claimed as well.
func TestShares(t *testing.T) {
	unaccounted := uint64(3)
	s := status.Report{
		Pools: []guard.PoolReport{
			{Node: 0, PageKiB: 2048, Total: 100, Free: 40, Claimed: 10, Unaccounted: &unaccounted, Holders: []guard.HolderReport{
				{Kind: guard.HolderOVS, Pages: 20}, {Kind: guard.HolderGuest, Pages: 15}, {Kind: guard.HolderGuest, Pages: 15},
				{Kind: guard.HolderProcess, Pages: 5}, {Kind: guard.HolderFile, Pages: 2}}},
			{Node: 1, PageKiB: 2048, Total: 10, Free: 5},
			{Node: 0, PageKiB: 1 << 20, Total: 4, Free: 4},
		},
		Sizes: []guard.SizeReport{{PageKiB: 2048, Reserved: 30}},
	}
	for i, want := range [][]uint64{
		// 25 of the 30 must lie on node 0, 10 of these may be the claim.
		{20, 30, 5, 2, 3, 10, 15, 15},
		{0, 0, 0, 0, 0, 0, 0, 5},
		{0, 0, 0, 0, 0, 0, 0, 4},
	} {
		if got := sharesOf(s, s.Pools[i]); !slices.Equal(got, want) {
			t.Errorf("%+v is drawn as %v, want %v", s.Pools[i], got, want)
		}
	}
}

// However much there is to be told, it is on one screen, as the first lines of each sort; and nothing is left out where
// it fits, or where nobody says how much does.
func TestOneScreen(t *testing.T) {
	root, err := filepath.Abs(incident)
	if err != nil {
		t.Fatal(err)
	}
	s, err := status.Read(context.Background(), sysfs.New(root), "", holdersDeadline)
	if err != nil {
		t.Fatal(err)
	}
	held := uint64(1024)
	s.OVS = &guard.OVSReport{Told: []string{"dpdk-extra=--no-pci", "dpdk-init=true", "dpdk-socket-mem=1024,1024"}, PageKiB: 2048,
		Nodes: []guard.OVSNodeReport{{Node: 0, ToldMiB: 1024, HeldMiB: &held}, {Node: 1, ToldMiB: 1024, HeldMiB: &held}}}
	s.Nova = &guard.NovaReport{Files: []string{"/etc/nova/nova.conf"}, Pools: []guard.NovaPool{{Node: 0, PageKiB: 2048, Free: new(int64(512)), Drift: new(int64(512))}, {Node: 1, PageKiB: 2048, Free: new(int64(512)), Drift: new(int64(512))}}}
	for i := range 30 {
		s.Emulators = append(s.Emulators, status.Emulator{Path: fmt.Sprintf("/usr/bin/qemu-%d", i)})
		s.Starting = append(s.Starting, guard.StartingReport{Name: fmt.Sprintf("starts-%d", i), PageKiB: 2048, Pages: 1})
		s.Nova.Strangers = append(s.Nova.Strangers, guard.Stranger{Name: fmt.Sprintf("stranger-%d", i), PageKiB: 2048, Pages: 1})
		s.Refusals = append(s.Refusals, journal.Refusal{Domain: fmt.Sprintf("refused-%d", i), Cause: "full"})
	}
	s.Refusals = s.Refusals[:10]
	for _, l := range []look{{columns: 80}, {}, {columns: 80, rows: 300}} {
		for _, want := range []string{"/usr/bin/qemu-29 ", "starts-29 ", "stranger-29 ", "refused-9:", "1024 MiB held; node 1", "guest instance-00000002"} {
			// Lines are broken between words.
			if text := strings.Join(strings.Fields(statusPage(s, l).text()), " "); !strings.Contains(text, want) {
				t.Errorf("%+v: not said: %s: %s", l, want, text)
			}
		}
	}
	p := statusPage(s, look{columns: 80, rows: 26})
	if len(p.lines) != 25 {
		t.Errorf("%d lines:\n%s", len(p.lines), p.text())
	}
	for _, want := range []string{"2 more: 512 (1 GiB)\n", "  Open vSwitch was told ", "drift 512 (1 GiB)\n", "qemu-1 ", "starts-1 ", "stranger-1 ",
		"  ... and 28 more of these\n", "\n... and 28 more of these\n", "refused-2:"} {
		if !strings.Contains(p.text(), want) {
			t.Errorf("not said: %s:\n%s", want, p.text())
		}
	}
}

func TestUTF8Locale(t *testing.T) {
	for _, c := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false},
		{"", "", "C", false},
		{"", "", "C.UTF-8", true},
		{"", "", "de_DE.utf8@euro", true},
		{"", "C", "en_US.UTF-8", false},
		{"POSIX", "en_US.UTF-8", "en_US.UTF-8", false},
		{"en_US.UTF-8", "C", "C", true},
		{"", "", "de_DE.ISO-8859-15", false},
	} {
		t.Setenv("LC_ALL", c.all)
		t.Setenv("LC_CTYPE", c.ctype)
		t.Setenv("LANG", c.lang)
		if utf8Locale() != c.want {
			t.Errorf("%+v", c)
		}
	}
}
