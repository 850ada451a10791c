package livehost

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hugeguard/guard"
	guarddomain "hugeguard/guard/domain"
	"hugeguard/guard/words"
	"hugeguard/testdata/grammar"
)

// pretended are the NUMA nodes that libvirtd finds here under the shim.
var pretended = grammar.Nodes()

// shim takes the place of the one function of libnuma's that libvirt asks whether a node is there
// (virNumaNodeIsAvailable), and of the one of the C library's that it asks what pages a mount has
// (virFileGetHugepageSize): there need be no pages of 1 GiB. The symbol of the mask is weak, since the
// daemon's children inherit the shim and not all of them link libnuma.
const shim = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/vfs.h>
int statfs64(const char *path, struct statfs64 *found)
{
	static int (*real)(const char *, struct statfs64 *);
	int status;
	if (!real)
		real = dlsym(RTLD_NEXT, "statfs64");
	status = real(path, found);
	if (!status && !strcmp(path, "` + gigantic + `"))
		found->f_bsize = 1 << 30;
	return status;
}
int statfs(const char *path, struct statfs *found)
{
	return statfs64(path, (struct statfs64 *)found); /* the same with 64 bits */
}
extern void *numa_nodes_ptr __attribute__((weak));
int numa_bitmask_isbitset(const void *mask, unsigned int node)
{
	static int (*real)(const void *, unsigned int);
	if (&numa_nodes_ptr && mask == numa_nodes_ptr)
		switch (node) {
%s			return 1;
		default:
			return 0;
		}
	if (!real)
		real = dlsym(RTLD_NEXT, "numa_bitmask_isbitset");
	return real(mask, node);
}
`

// gigantic is the mount that libvirtd takes for one of pages of 1 GiB. Nobody makes a file there.
const gigantic = "/dev/hugepages1G"

// native asks the libvirtd of many nodes.
type native struct {
	ask    *json.Encoder
	answer *json.Decoder
}

// answer is what libvirt makes of a domain: see native/main.go.
type answer struct{ Error, Command, Formatted string }

// pretendNodes starts libvirtd again, as on a host with the pretended nodes and with mounts for both
// page sizes, until the test ends.
func (s *scene) pretendNodes() *native {
	s.t.Helper()
	dir := s.t.TempDir()
	var cases strings.Builder
	for _, node := range pretended {
		fmt.Fprintf(&cases, "\t\tcase %d:\n", node)
	}
	source, object, program := filepath.Join(dir, "nodes.c"), filepath.Join(dir, "nodes.so"), filepath.Join(dir, "native")
	s.must(os.WriteFile(source, fmt.Appendf(nil, shim, cases.String()), 0o644))
	for _, argv := range [][]string{
		{"gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", object, source, "-ldl"},
		{"go", "build", "-buildvcs=false", "-tags", "libvirt_dlopen", "-o", program, "hugeguard/testdata/livehost/native"},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			s.t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	s.must(os.MkdirAll(gigantic, 0o755))
	s.must(mount("hugetlbfs", gigantic, "hugetlbfs", 0, "pagesize=2M"))
	s.t.Cleanup(func() {
		s.check(s.libvirtd.stop())
		s.check(syscall.Unmount(gigantic, 0))
		s.check(os.Remove(gigantic))
		s.must(s.startLibvirtd())
	})
	s.must(s.libvirtd.stop())
	s.must(s.startLibvirtd("LD_PRELOAD=" + object))

	cmd := exec.Command(program)
	cmd.Env = cleanEnv()
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	s.must(cmd.Start())
	s.t.Cleanup(func() {
		in.Close()
		s.check(cmd.Wait())
	})
	return &native{json.NewEncoder(in), json.NewDecoder(out)}
}

// of returns what libvirt makes of a domain; err only if it cannot be asked.
func (n *native) of(xml string) (a answer, err error) {
	if err := n.ask.Encode(xml); err != nil {
		return a, err
	}
	if err = n.answer.Decode(&a); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return a, err
}

// memory is what both sides say of a backend on huge pages.
type memory struct {
	ID      string
	Bytes   uint64
	PageKiB uint64
	Nodes   string
	Policy  string
	Memfd   bool
	Later   bool // nothing is allocated before the guest runs
	Threads bool // prepared from the CPUs of its nodes
	Path    bool // by -mem-path
}

// traits are what the grammar should have drawn of everything.
func (m memory) traits() []string {
	source := "from files"
	switch {
	case m.Path:
		source = "by -mem-path"
	case m.Memfd:
		source = "from memfds"
	}
	return []string{strings.TrimRight(m.ID, "0123456789"), source, m.Policy, fmt.Sprintf("on pages of %d KiB", m.PageKiB)}
}

// backends reads the backends on huge pages out of a QEMU command line, in the order in which QEMU makes
// them: those of objects, and after them RAM by -mem-path, which the board makes (qmp_x_exit_preconfig).
func backends(command string) ([]memory, error) {
	argv, err := shellWords(command)
	if err != nil {
		return nil, err
	}
	var list []memory
	var ram memory
	divided, empty := false, true
	for i, arg := range argv[:len(argv)-1] {
		value := argv[i+1]
		switch arg {
		case "-m":
			size, _, _ := strings.Cut(value, ",")
			unit := uint64(1 << 20)
			if kib, ok := strings.CutPrefix(size, "size="); ok {
				size, unit = strings.TrimSuffix(kib, "k"), 1<<10
			}
			n, err := strconv.ParseUint(size, 10, 64)
			if err != nil {
				return nil, err
			}
			ram.Bytes = n * unit
		case "-numa":
			if _, mib, ok := strings.Cut(value, ",mem="); ok {
				divided = true
				empty = empty && mib == "0"
			}
		case "-mem-path":
			if ram.PageKiB = mountedPage(value); ram.PageKiB != 0 {
				ram.ID, ram.Policy, ram.Path = "pc.ram", "default", true
			}
		case "-object":
			var o struct {
				Type    string `json:"qom-type"`
				ID      string
				Path    string `json:"mem-path"`
				HugeTLB bool
				PageB   uint64 `json:"hugetlbsize"`
				Size    uint64
				Nodes   guard.NodeSet `json:"host-nodes"`
				Policy  string
				Reserve *bool
				Context string `json:"prealloc-context"`
			}
			if !strings.HasPrefix(value, "{") {
				return nil, fmt.Errorf("-object %s is not in JSON", value)
			}
			if err := json.Unmarshal([]byte(value), &o); err != nil {
				return nil, fmt.Errorf("-object %s: %w", value, err)
			}
			m := memory{ID: o.ID, Bytes: o.Size, Nodes: o.Nodes.String(), Policy: o.Policy, Later: o.Reserve != nil && !*o.Reserve, Threads: o.Context != ""}
			if m.Policy == "" {
				m.Policy = "default"
			}
			switch o.Type {
			case "memory-backend-file":
				m.PageKiB = mountedPage(o.Path)
			case "memory-backend-memfd":
				if m.Memfd = true; o.HugeTLB {
					m.PageKiB = o.PageB >> 10
				}
			}
			// QEMU says plainly that it makes none of no bytes.
			if m.PageKiB != 0 && m.Bytes != 0 {
				list = append(list, m)
			}
		}
	}
	// Nor does it start where the cells together are not all of the RAM.
	if ram.ID != "" && ram.Bytes != 0 && !(divided && empty) {
		list = append(list, ram)
	}
	return list, nil
}

// mountedPage is the page size in KiB of the hugetlbfs mount that a path lies on, 0 for none.
func mountedPage(path string) uint64 {
	switch {
	case strings.HasPrefix(path, hugetlbfs+"/"):
		return 2048
	case strings.HasPrefix(path, gigantic+"/"):
		return 1 << 20
	}
	return 0
}

// shellWords splits a command line as a shell would; libvirt quotes by ' and \ alone (virBufferEscapeShell).
func shellWords(command string) ([]string, error) {
	var list []string
	var word strings.Builder
	inside, quoted := false, false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case quoted && c == '\'':
			quoted = false
		case quoted:
			word.WriteByte(c)
		case c == '\'':
			inside, quoted = true, true
		case c == '\\' && i+1 < len(command):
			i++
			inside = true
			word.WriteByte(command[i])
		case c == ' ' || c == '\n':
			if inside {
				list = append(list, word.String())
			}
			word.Reset()
			inside = false
		default:
			inside = true
			word.WriteByte(c)
		}
	}
	if quoted {
		return nil, fmt.Errorf("no end of the quote in %s", command)
	}
	return append(list, word.String()), nil
}

// pretendedHost is the host that libvirt sees, with pages for everybody.
func pretendedHost() guard.Host {
	host := guard.Host{BasePageKiB: 4, DefaultPageKiB: 2048, Sizes: []uint64{2048, 1 << 20},
		Mounts: []guard.Mount{{Path: hugetlbfs, PageKiB: 2048}, {Path: gigantic, PageKiB: 1 << 20}}}
	for _, kib := range host.Sizes {
		pool := guard.SizePool{PageKiB: kib}
		for _, node := range pretended {
			pool.Nodes = append(pool.Nodes, guard.NodePool{Node: node, Total: 1 << 40, Free: 1 << 40})
		}
		host.Pools = append(host.Pools, pool)
	}
	for _, node := range pretended {
		host.Nodes = append(host.Nodes, guard.Node{ID: node, HasMemory: true, HasCPU: true})
	}
	return host
}

// demanded is what the guard says of a domain. left is what it expects libvirt to say.
func demanded(xml string) (list []memory, left string, err error) {
	demand, err := guarddomain.Parse([]byte(xml))
	if err != nil {
		return nil, "", err
	}
	verdict := guard.Judge(demand, pretendedHost())
	for _, f := range verdict.Findings {
		if f.Code == "left-to-libvirt" {
			left = words.Finding(f)
		}
	}
	for _, b := range verdict.Demand {
		m := memory{ID: b.ID, Bytes: b.Bytes, PageKiB: b.PageKiB, Nodes: b.HostNodes.String(), Policy: string(b.Policy), Memfd: b.Memfd, Later: b.Device == "virtio-mem"}
		if b.Auto && b.Policy != guard.PolicyDefault {
			m.Nodes = grammar.Advice
		}
		m.Path = b.Global && b.Device == ""
		m.Threads = m.Nodes != "" && !m.Later && !b.Global
		if pages := (b.Bytes-1)/(b.PageKiB<<10) + 1; !m.Later && b.Pages != pages {
			return nil, "", fmt.Errorf("%s is %d pages, want %d", b.ID, b.Pages, pages)
		}
		list = append(list, m)
	}
	return list, left, nil
}

// compare compares what the guard demands for a domain with what libvirt gives QEMU. It returns what
// libvirt says where it does not take the domain.
func (n *native) compare(d grammar.Sentence) (refused string, backs []memory, err error) {
	got, left, parseErr := demanded(d.XML)
	a, err := n.of(d.XML)
	if err != nil {
		return "", nil, err
	}
	formatted := a.Formatted
	if d.Advised != d.XML && strings.Contains(a.Error, "Advice from numad is needed") {
		if a, err = n.of(d.Advised); err != nil {
			return "", nil, err
		}
	}
	if a.Error != "" {
		return a.Error, nil, nil
	}
	switch {
	case parseErr != nil:
		return "", nil, fmt.Errorf("libvirt takes it, and the guard says: %w", parseErr)
	case left != "":
		return "", nil, fmt.Errorf("libvirt takes it, and the guard says: %s", left)
	}
	want, err := backends(a.Command)
	if err != nil {
		return "", nil, err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return "", nil, fmt.Errorf("the demand differs (-libvirt +guard):\n%s\nthe command line:\n%s", diff, a.Command)
	}
	// What the hook gets is libvirt's own form.
	if got, _, err = demanded(formatted); err != nil {
		return "", nil, fmt.Errorf("libvirt's own form: %w\n%s", err, formatted)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		return "", nil, fmt.Errorf("the demand differs in libvirt's own form (-libvirt +guard):\n%s\n%s\nthe command line:\n%s", diff, formatted, a.Command)
	}
	return "", want, nil
}

// TestDemandOfSentences compares the demand of domains out of a grammar with the QEMU command lines that
// libvirt builds for them. Other domains each time: -rapid.seed takes a seed that a run has printed, and
// -rapid.checks how many there are to be.
func TestDemandOfSentences(t *testing.T) {
	n := begin(t, 0).pretendNodes()
	setDefault := func(name, value string) {
		f := flag.Lookup(name)
		if f.Value.String() == f.DefValue {
			old := f.Value.String()
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { flag.Set(name, old) })
		}
	}
	setDefault("rapid.checks", "2000")
	setDefault("rapid.seed", strconv.FormatUint(rand.Uint64(), 10))
	setDefault("rapid.nofailfile", "true")
	t.Logf("-rapid.seed=%s -rapid.checks=%s", flag.Lookup("rapid.seed").Value, flag.Lookup("rapid.checks").Value)

	domains, compared, onPages := 0, 0, 0
	refusals, traits := map[string]int{}, map[string]int{}
	began := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		d := grammar.Draw(t)
		domains++
		refused, backends, err := n.compare(d)
		if err != nil {
			t.Fatalf("%v\nthe domain:\n%s", err, d.XML)
		}
		if refused != "" {
			refusals[kindOf(refused)]++
			return
		}
		compared++
		if len(backends) > 0 {
			onPages++
		}
		for _, b := range backends {
			for _, trait := range b.traits() {
				traits[trait]++
			}
		}
	})
	t.Logf("%d domains in %v: %d compared, %d of them on huge pages", domains, time.Since(began).Round(time.Second), compared, onPages)
	for _, kind := range sortedKeys(refusals) {
		t.Logf("libvirt refused %d: %s", refusals[kind], kind)
	}
	t.Logf("backends: %v", traits)
	if compared < domains/2 || onPages < domains/3 {
		t.Errorf("libvirt takes too few of the grammar's domains to show much")
	}
	for _, trait := range []string{"pc.ram", "ram-node", "memdimm", "memvirtiomem", "from files", "from memfds", "by -mem-path",
		"default", "bind", "preferred", "interleave", "on pages of 2048 KiB", "on pages of 1048576 KiB"} {
		if traits[trait] == 0 && domains >= 1000 {
			t.Errorf("no backend was %s", trait)
		}
	}
}

// TestDemandOfOddDomains does the same with domains that have a field that no one expects; and libvirt
// says of the others what the fast tests take for granted.
func TestDemandOfOddDomains(t *testing.T) {
	n := begin(t, 0).pretendNodes()
	for _, odd := range grammar.Odds() {
		refused, _, err := n.compare(grammar.Sentence{XML: odd.XML, Advised: odd.XML})
		switch {
		case err != nil:
			t.Errorf("%s: %v", odd.Name, err)
		case (refused == "") != (odd.Refused == ""), !strings.Contains(refused, odd.Refused):
			t.Errorf("%s: libvirt says %q, want %q", odd.Name, refused, odd.Refused)
		}
	}
}

// notTaken are the domains of testdata/domains that libvirt does not take here, with its reason. The
// emulators of other architectures need not be there.
var notTaken = map[string]string{
	"arm64-":             "No emulator found for arch",
	"ppc64le-":           "No emulator found for arch",
	"s390x-":             "No emulator found for arch",
	"sgx-epc.":           "sgx epc isn't supported",
	"page-unknown-size.": "Unable to find any usable hugetlbfs mount",
}

// TestDemandOfDomains does the same with the domains that the fast tests read.
func TestDemandOfDomains(t *testing.T) {
	n := begin(t, 0).pretendNodes()
	files, err := filepath.Glob("../domains/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no domains: %v", err)
	}
	// libvirt opens the network's devices even for a command line that nobody runs.
	interfaces := regexp.MustCompile(`(?s)<interface .*?</interface>`)
	compared := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		xml := strings.Replace(string(text), "type='kvm'", "type='qemu'", 1)
		xml = interfaces.ReplaceAllString(xml, "")
		advised := strings.ReplaceAll(xml, "placement='auto'", "nodeset='"+grammar.Advice+"'")
		if advised != xml && !strings.Contains(xml, "<numatune>") {
			advised = strings.Replace(advised, "<os>", "<numatune><memory mode='strict' nodeset='"+grammar.Advice+"'/></numatune><os>", 1)
		}
		refused, _, err := n.compare(grammar.Sentence{XML: xml, Advised: advised})
		name := filepath.Base(file)
		expected := slices.ContainsFunc(slices.Collect(maps.Keys(notTaken)), func(prefix string) bool {
			return strings.HasPrefix(name, prefix) && strings.Contains(refused, notTaken[prefix])
		})
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case refused == "":
			compared++
		case !expected:
			t.Errorf("libvirt does not take %s: %s", name, refused)
		default:
			t.Logf("not compared: %s: %s", name, kindOf(refused))
		}
	}
	t.Logf("%d of %d domains compared", compared, len(files))
}

// kindOf is an error of libvirt's without what differs from one domain to the next.
func kindOf(message string) string {
	_, message, _ = strings.Cut(message, "Message='")
	message = strings.TrimSuffix(message, "')")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, message)
}

func sortedKeys(m map[string]int) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return m[b] - m[a] })
	return keys
}
