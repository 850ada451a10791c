package nova

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	format "hugeguard/guard/nova"
	"hugeguard/hook/config"
	"hugeguard/hook/survey/compute"
	"hugeguard/sysfs"
	"hugeguard/sysfs/sysfstest"
	"hugeguard/testdata/machine"
)

func TestMain(m *testing.M) { os.Exit(machine.Apart(m.Run)) }

// oracle runs Nova's own code. Another python3 than Debian's may come first in PATH.
func oracle(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"-W", "ignore", "oracle.py"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v (make prerequisites installs python3-nova)\n%s", cmd.Args, err, &stderr)
	}
	return string(out)
}

const (
	incident = "../hosts/incident"
	plain    = "../hosts/plain"
)

// hugeguard runs the admin's command, whose answer is on stdout whatever its exit status.
func hugeguard(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", append([]string{"run", "../../install/hugeguard"}, args...)...)
	out, err := cmd.Output()
	if len(out) == 0 {
		t.Fatalf("hugeguard %q: %v", args, err)
	}
	return out
}

// TestBelief: what hugeguard says that Nova believes is what Nova believes.
func TestBelief(t *testing.T) {
	h := sysfstest.Copy(t, plain+"/host")
	for _, name := range []string{"instance-00000001", "instance-00000002"} {
		file := "run/libvirt/qemu/" + name + ".xml"
		text, err := os.ReadFile(h.Path(file))
		if err != nil {
			t.Fatal(err)
		}
		h.Write(file, strings.Replace(string(text), "<memory ",
			`<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"/></metadata><memory `, 1))
	}
	h.Write("etc/nova/nova.conf", "[DEFAULT]\nreserved_huge_pages=node:0,size:2MB,count:100\nreserved_huge_pages=node:1,size:2048,count:7\n")
	var ours struct {
		Nova struct {
			Pools []struct {
				Node    int
				PageKiB int `json:"page_kib"`
				Free    int
			}
		}
	}
	if err := json.Unmarshal(hugeguard(t, "status", "--json", "--root", h.Path("")), &ours); err != nil {
		t.Fatal(err)
	}
	got := [][3]int{}
	for _, p := range ours.Nova.Pools {
		got = append(got, [3]int{p.Node, p.PageKiB, p.Free})
	}
	var want [][3]float64 // Nova divides
	if err := json.Unmarshal([]byte(oracle(t, "", "free", h.Path(""), h.Path("etc/nova/nova.conf"))), &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != 2 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("hugeguard says %v, Nova %v", got, want)
	}
}

// TestFix: told nothing, Nova sends the incident's instance to the node
// that Open vSwitch has filled; with the lines, to the other one.
func TestFix(t *testing.T) {
	lines := hugeguard(t, "reserve", "--root", incident+"/host")
	h := sysfstest.Copy(t, incident+"/host")
	for node := range 2 { // a capture has no file with a node's memory: that machine was given 3.5 GiB a node
		h.Write(fmt.Sprintf("sys/devices/system/node/node%d/meminfo", node), fmt.Sprintf("Node %d MemTotal:       3670016 kB\n", node))
	}
	// As Nova always did, before it learned to spread instances over nodes.
	const packing = "[compute]\npacking_host_numa_cells_allocation_strategy=True\n"
	dir := t.TempDir()
	told, untold := filepath.Join(dir, "told.conf"), filepath.Join(dir, "untold.conf")
	for file, text := range map[string]string{told: string(lines) + packing, untold: packing} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	type question struct {
		Conf  string `json:"conf"`
		Nodes []int  `json:"nodes"`
	}
	var stdin, want strings.Builder
	for _, test := range []struct {
		question
		want string
	}{
		{question{untold, []int{0, 1}}, "[0]"},
		{question{told, []int{0, 1}}, "[1]"},
		{question{untold, []int{0}}, "[0]"},
		{question{told, []int{0}}, "null"},
	} {
		line, err := json.Marshal(test.question)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&stdin, "%s\n", line)
		fmt.Fprintf(&want, "%s\n", test.want)
	}
	if got := oracle(t, stdin.String(), "place", h.Path(""), incident+"/prepare.xml"); got != want.String() {
		t.Errorf("asked\n%sNova places the instance on\n%swant\n%swith\n%s", &stdin, got, &want, lines)
	}
}

// generated is a host with a configuration of Nova.
type generated struct {
	Arguments []string `json:"arguments"`
	Files     []string `json:"files"`
	Dirs      []string `json:"dirs"`
	root      string
	texts     []string // what is in the files, to say what went wrong
}

// TestReading compares what hugeguard and Nova read out of the same files.
func TestReading(t *testing.T) {
	const cases = 600
	rnd := rand.New(rand.NewPCG(1, 2)) // the same cases each time
	all := t.TempDir()
	var made []generated
	var stdin strings.Builder
	for i := range cases {
		g := generate(t, rnd, filepath.Join(all, fmt.Sprint(i)))
		line, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&stdin, "%s\n", line)
		made = append(made, g)
	}
	answers := strings.Split(strings.TrimSpace(oracle(t, stdin.String(), "read")), "\n")
	if len(answers) != cases {
		t.Fatalf("%d answers", len(answers))
	}
	outcomes := map[string]int{}
	for i, g := range made {
		outcomes[compare(t, g, answers[i])]++
	}
	t.Log(outcomes)
	for _, kind := range []string{"empty", "pools", "error", "reference"} {
		if outcomes[kind] < cases/100 {
			t.Errorf("only %d of %d cases end in %s", outcomes[kind], cases, kind)
		}
	}
}

// compare checks one case and says how it ended.
func compare(t *testing.T, g generated, answer string) string {
	t.Helper()
	var theirs struct {
		Error string
		Pools [][3]float64
	}
	if err := json.Unmarshal([]byte(answer), &theirs); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	want := format.Reserved{}
	for _, p := range theirs.Pools {
		node, size, count := p[0], p[1], p[2]
		if node >= 0 && size > 0 && size == float64(uint64(size)) { // others exist nowhere
			want[format.Pool{Node: int(node), PageKiB: uint64(size)}] = int64(count)
		}
	}
	ours, _ := compute.Look(sysfs.New(g.root), config.Config{}, nil, time.Now().Add(time.Minute))
	if ours == nil {
		t.Fatalf("no Nova in %s", g.root)
	}
	if strings.HasSuffix(ours.Fault, format.ReferenceError{}.Error()) {
		return "reference" // what Nova makes of it depends on the other option
	}
	if (theirs.Error != "") != (ours.Fault != "") || theirs.Error == "" && !reflect.DeepEqual(want, ours.Reserved) {
		t.Errorf("Nova: %s\nhugeguard: %q %v\narguments %q\n%s", answer, ours.Fault, ours.Reserved, g.Arguments, strings.Join(g.texts, "\n"))
	}
	switch {
	case ours.Fault != "":
		return "error"
	case len(want) == 0:
		return "empty"
	}
	return "pools"
}

// generate makes a host on which nova-compute runs with a configuration of
// several files, most of them sane.
func generate(t *testing.T, rnd *rand.Rand, root string) generated {
	t.Helper()
	g := generated{root: root, Arguments: []string{}, Files: []string{}, Dirs: []string{}}
	write := func(name, text string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".conf") {
			g.texts = append(g.texts, fmt.Sprintf("%s: %q", name, text))
		}
	}
	maybe := func(n int) bool { return rnd.IntN(n) == 0 }
	// How often something is wrong, so that many files come through.
	odd := []int{1e6, 200, 20}[rnd.IntN(3)]
	conf := func() string { return confText(rnd, odd) }

	var arguments []string // as nova-compute has them on the host
	name := func(option, path string) {
		here := filepath.Join(root, path)
		if maybe(2) {
			arguments, g.Arguments = append(arguments, option, path), append(g.Arguments, option, here)
		} else {
			arguments, g.Arguments = append(arguments, option+"="+path), append(g.Arguments, option+"="+here)
		}
	}
	for _, program := range []string{"nova", "nova-compute"} {
		file, dir := "/etc/nova/"+program+".conf", "/etc/nova/"+program+".conf.d"
		if maybe(2) {
			write(file, conf())
			g.Files = append(g.Files, filepath.Join(root, file))
		}
		if maybe(3) {
			for _, f := range []string{"B", "a", "é", "10", "9"}[:1+rnd.IntN(5)] {
				write(dir+"/"+f+".conf", conf())
			}
			write(dir+"/.hidden.conf", conf())
			write(dir+"/readme", conf())
			g.Dirs = append(g.Dirs, filepath.Join(root, dir))
		}
	}
	if maybe(3) {
		for _, path := range []string{"/srv/b.conf", "/srv/a.conf"}[:1+rnd.IntN(2)] {
			write(path, conf())
			name("--config-file", path)
		}
	}
	if maybe(4) {
		write("/srv/d/x.conf", conf())
		name("--config-dir", "/srv/d")
	}
	write("proc/1/status", "Name:\tnova-compute\nHugetlbPages:\t0 kB\n")
	write("proc/1/cmdline", strings.Join(append([]string{"/usr/bin/python3", "/usr/bin/nova-compute"}, arguments...), "\x00")+"\x00")
	return g
}

// confText makes a configuration file, in which one of odd things is odd.
func confText(rnd *rand.Rand, odd int) string {
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	or := func(usual string, strange ...string) string {
		if rnd.IntN(odd) == 0 {
			return pick(strange...)
		}
		return usual
	}
	var b strings.Builder
	end := pick("\n", "\n", "\n", "\r\n", "\r")
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + end) }
	line(or("[DEFAULT]", "[default]", "[DEFAULT", "[]", " [DEFAULT]", "[ DEFAULT ]", "", "x=y", "[DEFAULT] \t\u00a0"))
	for range rnd.IntN(8) {
		switch rnd.IntN(8) {
		case 0:
			line(pick("# comment", "; comment", "", "   ", "#reserved_huge_pages=node:0,size:2048,count:1", "\x1f"))
		case 1:
			line("password", pick("=", ":", " = "), pick("hunter2", "", "\"", "a=b:c"))
			if rnd.IntN(2) == 0 {
				line(pick(" ", "\t"), pick("more", "reserved_huge_pages=node:0,size:2048,count:1", "[DEFAULT]", "# no comment"))
			}
		case 2:
			line(pick("[DEFAULT]", "[libvirt]", "[DEFAULT]"))
		case 3:
			line(or("", "no assignment", " too far in", "= nothing", "\tx", ":", "reserved_huge_pages"))
		default:
			line(or("reserved_huge_pages", "Reserved_huge_pages", "reserved-huge-pages", "\u2003reserved_huge_pages"),
				pick("=", " = ", ":", "\t:"), quoted(rnd, or, value(rnd, or), end))
		}
	}
	return b.String()
}

// value makes a value of reserved_huge_pages.
func value(rnd *rand.Rand, or func(string, ...string) string) string {
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	parts := []string{
		or("node", "Node", "", "node:0,node") + or(":", "=", ": ", " :") + or(pick("0", "1", "2"), "-1", "+1", " 1", "zero", "", "1.0", "$x", "$$", `\$x`, "1_0", "_1", "${y}"),
		or("size", "sizes") + ":" + or(pick("2048", "1048576", "2MB", "1GB", "2MiB", "16384Kbit", "16Mbit", "16777216b"),
			"2M", "1.5GB", ".5GB", "1.GB", "1000B", "1023B", "+2MB", "-2MB", "2 MB", "2mb", "2Kib", "2Kb", "0", "-2048", "2TiB", "0.001MB", "1e3KB", "iB", "B", "2iB", "bit", "GB", "+-2MB", "2_048"),
		or("count", "Count") + ":" + or(pick("64", "512", "1", "0"), "-3", "64 ", "1e3", "1_000", "1__0", "0x10", "064", "${count}", "$", "$5", "${", "six"),
	}
	rnd.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	if extra := or("", "why:$$", "why:a:b", "why", "why:\\$x", "why:$my_ip", ":x", "size:1", ""); extra != "" {
		parts = append(parts, extra)
	}
	return strings.Join(parts, or(pick(",", ", ", " , "), ",,", ";")) + or("", ",", " ")
}

// quoted puts a value into quotes, or on several lines, or leaves it alone.
func quoted(rnd *rand.Rand, or func(string, ...string) string, value, end string) string {
	switch rnd.IntN(8) {
	case 0:
		return `"` + value + or(`"`, `'`, "")
	case 1:
		return "'" + value + "'"
	case 2:
		return strings.ReplaceAll(value, ",", ","+end+"  ")
	case 3:
		return or(value, "", `"`, `''`, value+end+end+" "+value, value+end+"#"+end+" "+value)
	}
	return value
}

// TestWrite: what hugeguard writes is what Nova reads, wherever the setting was, and it is gone afterwards.
func TestWrite(t *testing.T) {
	const one = "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:1\n"
	program := filepath.Join(t.TempDir(), "hugeguard")
	if out, err := exec.Command("go", "build", "-o", program, "../../install/hugeguard").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const none, first, wanted = `{"pools": []}`, `{"pools": [[0, 2048, 1]]}`, `{"pools": [[0, 2048, 512], [1, 2048, 512]]}`
	var asked, want, names []string
	for _, test := range []struct{ name, conf, later, dropIn, before string }{
		{"nothing", "[DEFAULT]\n", "", "", none},
		{"in the file", one, "", "", first},
		{"in a drop-in", "[DEFAULT]\n", "", one, first},
		{"in the later file", one, one, one, first},
	} {
		h := sysfstest.Copy(t, incident+"/host")
		h.Write("etc/nova/nova.conf", test.conf)
		h.Write("etc/nova/nova-compute.conf", test.later)
		if test.dropIn != "" {
			h.Write("etc/nova/nova.conf.d/site.conf", test.dropIn)
		}
		h.Write("etc/init.d/nova-compute", "")
		for i, step := range []string{"", "--write", "--remove"} {
			if step != "" {
				if out, err := exec.Command(program, "reserve", step, "--root", h.Path("")).CombinedOutput(); err != nil {
					t.Fatalf("%s, %s: %v: %s", test.name, step, err, out)
				}
			}
			dir := filepath.Join(t.TempDir(), "nova") // as it is now
			if err := os.CopyFS(dir, os.DirFS(h.Path("etc/nova"))); err != nil {
				t.Fatal(err)
			}
			g := generated{Arguments: []string{"--config-file", dir + "/nova.conf", "--config-file", dir + "/nova-compute.conf"}, Files: []string{}, Dirs: []string{}}
			if _, err := os.Stat(dir + "/nova.conf.d"); err == nil {
				g.Dirs = append(g.Dirs, dir+"/nova.conf.d")
			}
			line, err := json.Marshal(g)
			if err != nil {
				t.Fatal(err)
			}
			asked, want, names = append(asked, string(line)+"\n"), append(want, []string{test.before, wanted, test.before}[i]), append(names, test.name+" "+step)
		}
	}
	for i, got := range strings.Split(strings.TrimSpace(oracle(t, strings.Join(asked, ""), "read")), "\n") {
		if got != want[i] {
			t.Errorf("%s: Nova reads %s, want %s", names[i], got, want[i])
		}
	}
}

// TestFormats: what goes into other tools' files is YAML, JSON or an INI file, and says the same to each.
func TestFormats(t *testing.T) {
	const want = `[[0, 2048, 512], [1, 2048, 512]]`
	for _, format := range []string{"nova", "kolla", "tripleo", "rhoso", "openstack-ansible", "kubelet", "json"} {
		lines := hugeguard(t, "reserve", "--format", format, "--root", incident+"/host")
		if got := strings.TrimSpace(oracle(t, string(lines), "format", format)); got != want {
			t.Errorf("%s: %s, want %s of\n%s", format, got, want, lines)
		}
	}
	// vdsm knows no nodes.
	lines := hugeguard(t, "reserve", "--format", "vdsm", "--root", incident+"/host")
	if got := strings.TrimSpace(oracle(t, string(lines), "format", "vdsm")); got != `[[null, 2048, 1024]]` {
		t.Errorf("vdsm: %s of\n%s", got, lines)
	}
}
