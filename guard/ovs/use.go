package ovs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Use is how much memory Open vSwitch uses of what it has, by node: what DPDK has handed out of its heaps, in KiB.
type Use map[int]uint64

// UseRequest asks ovs-vswitchd what [ReadUse] reads: a call of JSON-RPC on its control socket, of the command that
// "ovs-appctl dpdk/get-malloc-stats" runs.
const UseRequest = `{"id":0,"method":"dpdk/get-malloc-stats","params":[]}`

// AskUse sends [UseRequest] to an open connection and returns the answer. It ends as soon as the answer is complete;
// time is the connection's to bound.
func AskUse(connection io.ReadWriter) (Use, error) {
	if _, err := io.WriteString(connection, UseRequest); err != nil {
		return nil, err
	}
	return ReadUse(connection)
}

// ReadUse reads one answer to [UseRequest]. An Open vSwitch that runs without DPDK, or is too old, does not know the
// command: that is an error.
func ReadUse(from io.Reader) (Use, error) {
	var reply struct {
		Result string          `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(from, ReplyLimit)).Decode(&reply); err != nil {
		return nil, fmt.Errorf("ovs-vswitchd: %w", err)
	}
	if len(reply.Error) > 0 && string(reply.Error) != "null" {
		return nil, fmt.Errorf("ovs-vswitchd: it answers with an error: %.80q", reply.Error)
	}
	return parseUse(reply.Result)
}

var errNoHeap = errors.New("ovs-vswitchd: the answer has no heap of a node")

// parseUse parses what rte_malloc_dump_stats of DPDK prints: for each heap its name, which has the node, or before DPDK
// 18.11 a line "Socket:NODE", and its sizes in bytes. Heaps of memory that is not DPDK's own have other names.
func parseUse(text string) (Use, error) {
	use, node := Use{}, -1
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(strings.TrimSpace(line), ","), ":")
		switch key {
		case "Heap id":
			node = -1
		case "Heap name":
			node = nodeOf(strings.TrimPrefix(value, "socket_"))
		case "Socket":
			node = nodeOf(value)
		case "Alloc_size":
			if node < 0 {
				continue
			}
			bytes, err := strconv.ParseUint(value, 10, 10+maxBits)
			if err != nil {
				return nil, fmt.Errorf("ovs-vswitchd: %.40q is not the size of a heap", value)
			}
			use[node] = (bytes + 1023) / 1024
		}
	}
	if len(use) == 0 {
		return nil, errNoHeap
	}
	return use, nil
}

// nodeOf reads the number of a node, -1 for anything else.
func nodeOf(text string) int {
	node, err := strconv.Atoi(text)
	if err != nil || node < 0 || node >= maxNodes {
		return -1
	}
	return node
}

// UseAnswer is the answer to [UseRequest] from which [ReadUse] has a Use, and nothing else.
func UseAnswer(u Use) ([]byte, error) {
	var heaps strings.Builder
	for _, node := range slices.Sorted(maps.Keys(u)) {
		fmt.Fprintf(&heaps, "Heap name:socket_%d\n\tAlloc_size:%d,\n", node, u[node]*1024)
	}
	text, err := json.Marshal(map[string]any{"error": nil, "id": 0, "result": heaps.String()})
	return append(text, '\n'), err
}
