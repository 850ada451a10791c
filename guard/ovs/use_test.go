package ovs_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard/ovs"
)

// heaps is the beginning of what Open vSwitch 3.1 with DPDK 22.11 answered on a host with one node.
const heaps = `{"id":0,"result":"Heap id:0\n\tHeap name:socket_0\n\tHeap_size:67108864,\n\tFree_size:66946816,\n\tAlloc_size:162048,\n\tGreatest_free_size:66946816,\n\tAlloc_count:34,\n\tFree_count:1,\nHeap id:1\n\tHeap name:\n\tHeap_size:0,\n\tFree_size:0,\n\tAlloc_size:0,\n\tGreatest_free_size:0,\n\tAlloc_count:0,\n\tFree_count:0,\n"}`

func TestReadUse(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       ovs.Use
	}{
		{"one node", heaps, ovs.Use{0: 159}},
		{"two nodes, and memory of somebody else's", `{"result":"Heap id:0\n\tHeap name:socket_0\n\tAlloc_size:1024,\nHeap id:1\n\tHeap name:socket_1\n\tAlloc_size:0,\nHeap id:2\n\tHeap name:external\n\tAlloc_size:4096,\n","error":null}`,
			ovs.Use{0: 1, 1: 0}},
		{"before DPDK 18.11", `{"result":"Socket:0\n\tHeap_size:4096,\n\tAlloc_size:2048,\nSocket:1\n\tAlloc_size:3072,\n","error":null}`, ovs.Use{0: 2, 1: 3}},
	} {
		got, err := ovs.ReadUse(strings.NewReader(test.text))
		if err != nil || !cmp.Equal(got, test.want) {
			t.Errorf("%s: %v, %v; want %v", test.name, got, err, test.want)
		}
		kept, err := ovs.UseAnswer(got)
		if again, unread := ovs.ReadUse(bytes.NewReader(kept)); err != nil || unread != nil || !cmp.Equal(again, test.want) {
			t.Errorf("%s: of %s is read %v, %v", test.name, kept, again, unread)
		}
	}
	for _, test := range []struct{ text, says string }{
		{"", "EOF"},
		{`{"id":0,"error":"\"dpdk/get-malloc-stats\" is not a valid command\n"}`, "is not a valid command"},
		{`{"result":null,"error":null}`, "no heap"},
		{`{"result":"Heap id:0\n\tHeap name:socket_-1\n\tAlloc_size:7,\n"}`, "no heap"},
		{`{"result":"Heap name:socket_0\n\tAlloc_size:many,\n"}`, `"many" is not the size of a heap`},
		{`{"result":"Heap name:socket_0\n\tAlloc_size:99999999999999999,\n"}`, "is not the size of a heap"},
		{`{"result":"` + strings.Repeat("x", ovs.ReplyLimit) + `"}`, "unexpected EOF"},
	} {
		if got, err := ovs.ReadUse(strings.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%.60q: %v, %v; want %q", test.text, got, err, test.says)
		}
	}
}

func TestAskUse(t *testing.T) {
	s := &server{answer: strings.NewReader(heaps)}
	if got, err := ovs.AskUse(s); err != nil || got[0] != 159 || s.asked.String() != ovs.UseRequest {
		t.Errorf("%v, %v after %s", got, err, &s.asked)
	}
	gone := errors.New("gone")
	if _, err := ovs.AskUse(&server{broken: gone}); !errors.Is(err, gone) {
		t.Errorf("a closed connection: %v", err)
	}
}

func FuzzReadUse(f *testing.F) {
	f.Add(heaps)
	f.Add(`{"result":"Socket:0\n\tAlloc_size:2048,\n","error":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		use, err := ovs.ReadUse(strings.NewReader(text))
		if err != nil {
			return
		}
		for node, kib := range use {
			if node < 0 || node > 1024 || kib > 1<<32 {
				t.Errorf("node %d uses %d KiB", node, kib)
			}
		}
	})
}
