// Package ovs reads what Open vSwitch was told about huge pages: the keys of other_config in its database that DPDK
// gets its memory by (ovs-vswitchd.conf.db(5)).
package ovs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Config is what Open vSwitch was told. Sizes are MiB, as in its database.
type Config struct {
	// Init says that it was told to use DPDK at all: dpdk-init true or try.
	Init bool
	// SocketMiB is what it takes at its start, by node: dpdk-socket-mem. Nodes that it does not name get nothing. nil
	// where nothing was told.
	SocketMiB map[int]uint64
	// AllocMiB is what it takes at its start on any node: dpdk-alloc-mem. dpdk-socket-mem goes before it.
	AllocMiB uint64
	// LimitMiB is how much it may ever take, by node: dpdk-socket-limit. A node without an entry has no limit.
	LimitMiB map[int]uint64
	// HugeDir is the hugetlbfs mount that it is to use; "" is any.
	HugeDir string
	// PerPort says that each port gets a mempool of its own: per-port-memory.
	PerPort bool
	// Told are the keys that say all this, as "key=value", in the order of their names: other people's input.
	Told []string
}

// Request asks Open vSwitch's database for the row that [Parse] reads: one transaction of RFC 7047, section 4.1.3.
const Request = `{"id":0,"method":"transact","params":["Open_vSwitch",{"op":"select","table":"Open_vSwitch","where":[],"columns":["other_config"]}]}`

// ReplyLimit is more than the database's answer has, in bytes.
const ReplyLimit = 1 << 20

// Ask sends [Request] to an open connection and returns the answer's Config. It ends as soon as the answer is complete;
// time is the connection's to bound.
func Ask(connection io.ReadWriter) (Config, error) {
	if _, err := io.WriteString(connection, Request); err != nil {
		return Config{}, err
	}
	return Read(connection)
}

// Read reads one answer to [Request].
func Read(from io.Reader) (Config, error) {
	var r reply
	if err := json.NewDecoder(io.LimitReader(from, ReplyLimit)).Decode(&r); err != nil {
		return Config{}, fmt.Errorf("database of Open vSwitch: %w", err)
	}
	config, err := r.config()
	if err != nil {
		return Config{}, fmt.Errorf("database of Open vSwitch: %w", err)
	}
	return config, nil
}

// Answer is the database's answer to [Request] from which [Read] has a Config: the keys that it was [Config.Told], and
// no others.
func Answer(c Config) ([]byte, error) {
	pairs := [][2]string{}
	for _, told := range c.Told {
		key, value, _ := strings.Cut(told, "=")
		pairs = append(pairs, [2]string{key, value})
	}
	other := []any{"map", pairs}
	rows := []any{map[string]any{"rows": []any{map[string]any{"other_config": other}}}}
	text, err := json.Marshal(map[string]any{"error": nil, "id": 0, "result": rows})
	return append(text, '\n'), err
}

// reply is a JSON-RPC response to a transaction of one select.
type reply struct {
	Result []struct {
		Error   string `json:"error"`
		Details string `json:"details"`
		Rows    []struct {
			OtherConfig stringMap `json:"other_config"`
		} `json:"rows"`
	} `json:"result"`
	Error json.RawMessage `json:"error"`
}

// stringMap is a map of OVSDB: ["map",[[key,value],...]] (RFC 7047, 5.1).
type stringMap map[string]string

func (m *stringMap) UnmarshalJSON(text []byte) error {
	var tagged [2]json.RawMessage
	var tag string
	var pairs [][2]string
	if err := json.Unmarshal(text, &tagged); err != nil {
		return err
	}
	if err := json.Unmarshal(tagged[0], &tag); err != nil || tag != "map" {
		return fmt.Errorf("%.40q is not a map", text)
	}
	if err := json.Unmarshal(tagged[1], &pairs); err != nil {
		return err
	}
	*m = stringMap{}
	for _, pair := range pairs {
		(*m)[pair[0]] = pair[1]
	}
	return nil
}

var errNoRow = errors.New("the answer has no row")

func (r reply) config() (Config, error) {
	if len(r.Error) > 0 && string(r.Error) != "null" {
		return Config{}, fmt.Errorf("it answers with an error: %.80q", r.Error)
	}
	if len(r.Result) == 0 {
		return Config{}, errNoRow
	}
	first := r.Result[0]
	if first.Error != "" {
		return Config{}, fmt.Errorf("it answers with an error: %.40q %.80q", first.Error, first.Details)
	}
	if len(first.Rows) == 0 {
		return Config{}, errNoRow
	}
	return New(first.Rows[0].OtherConfig), nil
}

// keys are those of other_config that matter here.
var keys = []string{
	"dpdk-alloc-mem", "dpdk-extra", "dpdk-hugepage-dir", "dpdk-init", "dpdk-socket-limit", "dpdk-socket-mem", "per-port-memory",
}

// New makes a Config of other_config. Options in dpdk-extra go before the keys that stand for them, and values that
// make no sense are as good as none, as they are to Open vSwitch (construct_dpdk_options in lib/dpdk.c).
func New(other map[string]string) Config {
	c := Config{
		Init:    other["dpdk-init"] == "true" || other["dpdk-init"] == "try",
		PerPort: other["per-port-memory"] == "true",
		HugeDir: other["dpdk-hugepage-dir"],
	}
	for _, key := range keys {
		if value, ok := other[key]; ok {
			c.Told = append(c.Told, key+"="+value)
		}
	}
	extra := options(other["dpdk-extra"])
	socketMem, inExtra := extra["--socket-mem"]
	allocMem, allocInExtra := extra["-m"]
	switch {
	case inExtra || allocInExtra:
	case other["dpdk-socket-mem"] != "":
		socketMem = other["dpdk-socket-mem"]
	default:
		allocMem = other["dpdk-alloc-mem"]
	}
	c.SocketMiB = perNode(socketMem)
	if c.SocketMiB == nil {
		c.AllocMiB, _ = strconv.ParseUint(allocMem, 10, maxBits)
	}
	limit, ok := extra["--socket-limit"]
	if !ok {
		limit = other["dpdk-socket-limit"]
	}
	c.LimitMiB = perNode(limit)
	for node, mib := range c.LimitMiB {
		if mib == 0 {
			delete(c.LimitMiB, node)
		}
	}
	if dir, ok := extra["--huge-dir"]; ok {
		c.HugeDir = dir
	}
	return c
}

// options reads the options with values that dpdk-extra gives to DPDK, which may stand as two words, or joined by = or,
// where short, by nothing.
func options(extra string) map[string]string {
	found := map[string]string{}
	words := strings.Fields(extra)
	for i, word := range words {
		name, value, joined := strings.Cut(word, "=")
		switch {
		case joined && strings.HasPrefix(name, "--"):
		case strings.HasPrefix(word, "-m") && len(word) > 2:
			name, value = "-m", word[2:]
		case i+1 < len(words) && strings.HasPrefix(word, "-"):
			name, value = word, words[i+1]
		default:
			continue
		}
		found[name] = strings.Trim(value, `"'`)
	}
	return found
}

// Bounds of what is believed: nodes, and the bits of a size in MiB.
const (
	maxNodes = 1024
	maxBits  = 32
)

// perNode reads sizes in MiB, the first of which is node 0's; nil where that makes no sense.
func perNode(list string) map[int]uint64 {
	if list == "" {
		return nil
	}
	sizes := map[int]uint64{}
	for node, size := range strings.Split(list, ",") {
		size = strings.TrimSpace(size)
		if size == "" {
			continue
		}
		mib, err := strconv.ParseUint(size, 10, maxBits)
		if err != nil || node >= maxNodes {
			return nil
		}
		sizes[node] = mib
	}
	return sizes
}

// TotalMiB is all that Open vSwitch was told to take at its start.
func (c Config) TotalMiB() uint64 {
	total := c.AllocMiB
	for _, mib := range c.SocketMiB {
		total += mib
	}
	return total
}

// Nodes returns the nodes that it was told to take memory on, ascending.
func (c Config) Nodes() []int {
	var nodes []int
	for node, mib := range c.SocketMiB {
		if mib > 0 {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// Pages is how many pages of a size in KiB so many MiB are, rounded up.
func Pages(mib, pageKiB uint64) uint64 { return PagesOf(mib*1024, pageKiB) }

// PagesOf is how many pages of a size in KiB so many KiB are, rounded up.
func PagesOf(kib, pageKiB uint64) uint64 {
	if pageKiB == 0 {
		return 0
	}
	return (kib + pageKiB - 1) / pageKiB
}

// Mempool returns the least memory in KiB of one more mempool for ports of an MTU. Open vSwitch asks for 262,144
// packets and is content with 16,384 where it cannot have more (MIN_NB_MBUF in lib/netdev-dpdk.c); a packet has the
// room of its MTU, rounded up to 1 KiB, and 800 bytes besides, by Red Hat's formula.
func Mempool(mtu uint64) (leastKiB uint64) {
	return mempoolKiB(mtu, 4096*4)
}

// FullMempool is the memory in KiB of a mempool that got all it asked for.
func FullMempool(mtu uint64) (kib uint64) { return mempoolKiB(mtu, 4096*64) }

func mempoolKiB(mtu, packets uint64) uint64 {
	const overhead, most = 800, 1 << 16
	room := (min(mtu, most) + 1023) / 1024 * 1024
	return (room + overhead) * packets / 1024
}
