package ovs_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hugeguard/guard/ovs"
)

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name  string
		other map[string]string
		want  ovs.Config
	}{
		{"nothing", nil, ovs.Config{}},
		{"not to use DPDK", map[string]string{"dpdk-init": "false", "dpdk-socket-mem": "1024"},
			ovs.Config{SocketMiB: map[int]uint64{0: 1024}, Told: []string{"dpdk-init=false", "dpdk-socket-mem=1024"}}},
		{"to try", map[string]string{"dpdk-init": "try"}, ovs.Config{Init: true, Told: []string{"dpdk-init=try"}}},
		{"two nodes", map[string]string{"dpdk-init": "true", "dpdk-socket-mem": "1024,0,2048", "hw-offload": "true"},
			ovs.Config{Init: true, SocketMiB: map[int]uint64{0: 1024, 1: 0, 2: 2048}, Told: []string{"dpdk-init=true", "dpdk-socket-mem=1024,0,2048"}}},
		{"spaces and gaps", map[string]string{"dpdk-socket-mem": " 1024, ,64 "},
			ovs.Config{SocketMiB: map[int]uint64{0: 1024, 2: 64}, Told: []string{"dpdk-socket-mem= 1024, ,64 "}}},
		{"nonsense", map[string]string{"dpdk-socket-mem": "1G", "dpdk-alloc-mem": "-1"},
			ovs.Config{Told: []string{"dpdk-alloc-mem=-1", "dpdk-socket-mem=1G"}}},
		{"too much", map[string]string{"dpdk-socket-mem": "99999999999"}, ovs.Config{Told: []string{"dpdk-socket-mem=99999999999"}}},
		{"any node", map[string]string{"dpdk-alloc-mem": "512"}, ovs.Config{AllocMiB: 512, Told: []string{"dpdk-alloc-mem=512"}}},
		{"the sockets go first", map[string]string{"dpdk-alloc-mem": "512", "dpdk-socket-mem": "64"},
			ovs.Config{SocketMiB: map[int]uint64{0: 64}, Told: []string{"dpdk-alloc-mem=512", "dpdk-socket-mem=64"}}},
		{"limits, of which 0 is none", map[string]string{"dpdk-socket-limit": "2048,0"},
			ovs.Config{LimitMiB: map[int]uint64{0: 2048}, Told: []string{"dpdk-socket-limit=2048,0"}}},
		{"extra goes first", map[string]string{"dpdk-socket-mem": "64", "dpdk-hugepage-dir": "/a", "dpdk-extra": "--no-pci --socket-mem=128,256 --huge-dir /b --socket-limit 512"},
			ovs.Config{SocketMiB: map[int]uint64{0: 128, 1: 256}, LimitMiB: map[int]uint64{0: 512}, HugeDir: "/b",
				Told: []string{"dpdk-extra=--no-pci --socket-mem=128,256 --huge-dir /b --socket-limit 512", "dpdk-hugepage-dir=/a", "dpdk-socket-mem=64"}}},
		{"-m in extra", map[string]string{"dpdk-socket-mem": "64", "dpdk-extra": "-m 512"},
			ovs.Config{AllocMiB: 512, Told: []string{"dpdk-extra=-m 512", "dpdk-socket-mem=64"}}},
		{"-m joined", map[string]string{"dpdk-extra": "-m512 -l 0-3"}, ovs.Config{AllocMiB: 512, Told: []string{"dpdk-extra=-m512 -l 0-3"}}},
		{"an option without its value", map[string]string{"dpdk-extra": "--socket-mem"}, ovs.Config{Told: []string{"dpdk-extra=--socket-mem"}}},
		{"a mempool for each port", map[string]string{"per-port-memory": "true"}, ovs.Config{PerPort: true, Told: []string{"per-port-memory=true"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ovs.New(test.other)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestRead(t *testing.T) {
	const answer = `{"error":null,"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"],["dpdk-socket-mem","1024,1024"]]]}]}]}`
	want := ovs.Config{Init: true, SocketMiB: map[int]uint64{0: 1024, 1: 1024}, Told: []string{"dpdk-init=true", "dpdk-socket-mem=1024,1024"}}
	// What comes after the answer, such as the server's own echo, is left.
	got, err := ovs.Read(strings.NewReader(answer + `{"id":"echo","method":"echo","params":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if want.TotalMiB() != 2048 || !cmp.Equal(want.Nodes(), []int{0, 1}) {
		t.Errorf("%d MiB on %v", want.TotalMiB(), want.Nodes())
	}
	for _, test := range []struct{ text, says string }{
		{"", "EOF"},
		{`{"id":0,"result":[{"ro`, "unexpected EOF"},
		{`[]`, "cannot unmarshal"},
		{`{"result":[],"error":null}`, "no row"},
		{`{"result":[{"rows":[]}],"error":null}`, "no row"},
		{`{"result":null,"error":"unknown database"}`, "unknown database"},
		{`{"result":[{"error":"syntax error","details":"no column"}],"error":null}`, "no column"},
		{`{"result":[{"rows":[{"other_config":["set",[]]}]}]}`, "is not a map"},
		{`{"result":[{"rows":[{"other_config":["map",[["a",1]]]}]}]}`, "cannot unmarshal"},
		{`{"result":"` + strings.Repeat("x", ovs.ReplyLimit) + `"}`, "unexpected EOF"},
	} {
		if got, err := ovs.Read(strings.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%.60q: %+v, %v; want %q", test.text, got, err, test.says)
		}
	}
}

// server is one end of a connection, which answers and records what it was asked.
type server struct {
	asked  bytes.Buffer
	answer io.Reader
	broken error
}

func (s *server) Write(p []byte) (int, error) {
	if s.broken != nil {
		return 0, s.broken
	}
	return s.asked.Write(p)
}
func (s *server) Read(p []byte) (int, error) { return s.answer.Read(p) }

func TestAsk(t *testing.T) {
	s := &server{answer: strings.NewReader(`{"result":[{"rows":[{"other_config":["map",[]]}]}]}`)}
	if got, err := ovs.Ask(s); err != nil || got.Init || s.asked.String() != ovs.Request {
		t.Errorf("%+v, %v after %s", got, err, &s.asked)
	}
	gone := errors.New("gone")
	if _, err := ovs.Ask(&server{broken: gone}); !errors.Is(err, gone) {
		t.Errorf("a closed connection: %v", err)
	}
}

func TestPages(t *testing.T) {
	for _, test := range []struct{ mib, kib, pages uint64 }{{1024, 2048, 512}, {1, 2048, 1}, {3, 2048, 2}, {0, 2048, 0}, {1025, 1 << 20, 2}, {5, 0, 0}} {
		if got := ovs.Pages(test.mib, test.kib); got != test.pages {
			t.Errorf("%d MiB in pages of %d KiB: %d, want %d", test.mib, test.kib, got, test.pages)
		}
	}
}

// TestMempool: the numbers of Red Hat's example for MTU 9000 and 2000.
func TestMempool(t *testing.T) {
	if got := ovs.FullMempool(9000); got != 2625634304/1024 {
		t.Errorf("MTU 9000: %d KiB", got)
	}
	if got := ovs.FullMempool(2000); got != (2048+800)*262144/1024 {
		t.Errorf("MTU 2000: %d KiB", got)
	}
	if least, full := ovs.Mempool(1500), ovs.FullMempool(1500); least*16 != full {
		t.Errorf("MTU 1500: at least %d KiB of %d", least, full)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"error":null,"id":0,"result":[{"rows":[{"other_config":["map",[["dpdk-init","true"],["dpdk-socket-mem","1024,1024"]]]}]}]}`)
	f.Add(`{"result":[{"rows":[{"other_config":["map",[["dpdk-extra","-m 1 --socket-mem=2 --huge-dir /x"],["dpdk-socket-limit","1,,0"]]]}]}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ovs.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		if len(c.SocketMiB) > 1024 || c.SocketMiB != nil && c.AllocMiB != 0 || c.TotalMiB() > 1024<<32 {
			t.Errorf("%+v", c)
		}
	})
}
