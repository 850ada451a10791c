package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard"
	"hugeguard/hook/config"
	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

// check looks for evidence for as long as the hook may, where its own limit is shorter.
func TestCheckSeesNoLess(t *testing.T) {
	root, err := filepath.Abs(incident)
	if err != nil {
		t.Fatal(err)
	}
	own := holdersDeadline
	t.Cleanup(func() { holdersDeadline = own })
	holdersDeadline = -time.Hour
	for deadline, want := range map[time.Duration]bool{-time.Hour: false, time.Hour: true} {
		c := checker{host: sysfs.New(root), config: config.Config{Deadline: deadline}}
		host, err := c.survey(survey.All)
		if err != nil {
			t.Fatal(err)
		}
		if all := host.Holders != nil && !host.Holders.Cut; all != want {
			t.Errorf("with a deadline of %v of the hook: all holders: %t, want %t", deadline, all, want)
		}
	}
}

// A surplus page that becomes free is gone; others are there for the next.
func TestGiveBack(t *testing.T) {
	host := guard.Host{
		Pools: []guard.SizePool{
			{PageKiB: 2048, Surplus: 3, Nodes: []guard.NodePool{{Node: 0, Total: 13, Free: 1, Surplus: 3}, {Node: 1, Total: 10, Free: 2}}},
			{PageKiB: 1 << 20, Nodes: []guard.NodePool{{Node: 0, Total: 4, Free: 1}}},
		},
		Holders: &guard.Holders{List: []guard.Holder{
			{Kind: guard.HolderGuest, Name: "a", PageKiB: 2048, Pages: map[int]uint64{0: 5, 1: 4}},
			{Kind: guard.HolderGuest, Name: "b", PageKiB: 2048, Pages: map[int]uint64{1: 4}},
			{Kind: guard.HolderProcess, Name: "a", PageKiB: 2048, Pages: map[int]uint64{0: 7}},
			{Kind: guard.HolderGuest, Name: "a", PageKiB: 1 << 20, Pages: map[int]uint64{0: 3}},
		}},
	}
	if pages := giveBack(&host, "a"); pages != 12 {
		t.Errorf("it gives %d pages back", pages)
	}
	want := guard.Host{
		Pools: []guard.SizePool{
			{PageKiB: 2048, Nodes: []guard.NodePool{{Node: 0, Total: 10, Free: 3}, {Node: 1, Total: 10, Free: 6}}},
			{PageKiB: 1 << 20, Nodes: []guard.NodePool{{Node: 0, Total: 4, Free: 4}}},
		},
		Holders: &guard.Holders{List: []guard.Holder{
			{Kind: guard.HolderGuest, Name: "b", PageKiB: 2048, Pages: map[int]uint64{1: 4}},
			{Kind: guard.HolderProcess, Name: "a", PageKiB: 2048, Pages: map[int]uint64{0: 7}},
		}},
	}
	if diff := cmp.Diff(want, host); diff != "" {
		t.Error(diff)
	}
}
