package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"hugeguard/guard"
	guarddomain "hugeguard/guard/domain"
	"hugeguard/hook/survey"
	"hugeguard/sysfs"
)

// machine is the kernel and the workers that play upon it.
type machine struct {
	fs        sysfs.FS
	kernel    guard.Version
	nodes     []int // those with memory
	allNodes  []int
	cpusByID  map[int]unix.CPUSet
	allCPUs   []int
	holders   []*process
	launchers map[string]*process // by cpuset
	// arranged says that the state is that of the last scene arranged.
	arranged   bool
	confined   map[string]bool // groups that have their cpuset
	covered    bool            // a limited hugetlbfs lies over the other
	counterFDs []int
}

// maxHolders is how many processes can hold pages.
const maxHolders = 3

func newMachine() (*machine, error) {
	m := &machine{cpusByID: map[int]unix.CPUSet{}, launchers: map[string]*process{}, confined: map[string]bool{}}
	major, minor, _, ok := m.fs.KernelRelease()
	if !ok {
		return nil, fmt.Errorf("no release in %q", release())
	}
	m.kernel = guard.Version(major*1_000_000 + minor*1_000)
	nodes, err := m.fs.Nodes()
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		m.allNodes = append(m.allNodes, n.ID)
		if n.HasMemory {
			m.nodes = append(m.nodes, n.ID)
		}
		cpus, err := cpusOf(n.ID)
		if err != nil {
			return nil, err
		}
		m.cpusByID[n.ID] = cpus
		for cpu := range 64 {
			if cpus.IsSet(cpu) {
				m.allCPUs = append(m.allCPUs, cpu)
			}
		}
	}
	const theirs = machineSlice + "/holders"
	if err := errors.Join(pretendMachined(), makeGroup(machineSlice), os.Mkdir(theirs, 0o755)); err != nil {
		return nil, err
	}
	for i := range maxHolders {
		p, err := startWorker(fmt.Sprintf("holder-%d", i), theirs)
		if err != nil {
			return nil, err
		}
		m.holders = append(m.holders, p)
	}
	return m, nil
}

// cpus returns the CPUs of nodes.
func (m *machine) cpus(nodes guard.NodeSet) (all unix.CPUSet) {
	for _, n := range nodes {
		cpus := m.cpusByID[n]
		for i := range all {
			all[i] |= cpus[i]
		}
	}
	return all
}

// nodesOf returns the nodes that have some of the CPUs.
func (m *machine) nodesOf(cpus guard.CPUSet) (nodes guard.NodeSet) {
	for _, n := range m.allNodes {
		theirs := m.cpusByID[n]
		if slices.ContainsFunc(cpus, theirs.IsSet) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// emulator returns the group for QEMU in a domain of a group, with a cpuset.mems
// and a cpuset.cpus of its own if any.
func (m *machine) emulator(g group, cpuset guard.NodeSet, cpus guard.CPUSet) (dir string, err error) {
	parent, err := m.partition(g)
	if err != nil {
		return "", err
	}
	dir = fmt.Sprintf("%s/emulator-mems-%s-cpus-%s", parent, cpuset, guard.NodeSet(cpus))
	if err := unix.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if err := m.confine(dir, cpuset, cpus); err != nil {
		return "", fmt.Errorf("%w: %w", errCpuset, err)
	}
	return dir, nil
}

// confine writes a group's cpuset, once; nil leaves a part of it alone.
func (m *machine) confine(dir string, nodes guard.NodeSet, cpus guard.CPUSet) error {
	if m.confined[dir] {
		return nil
	}
	for file, list := range map[string]guard.NodeSet{"cpuset.mems": nodes, "cpuset.cpus": guard.NodeSet(cpus)} {
		if list != nil {
			if err := writeFile(dir+"/"+file, list.String()); err != nil {
				return err
			}
		}
	}
	m.confined[dir] = true
	return nil
}

// launcher returns the worker in a group. It stays there, but for launches that
// have a policy first and then get into the group of their domain: writing
// cpuset.mems would move the memory of those that are in it.
func (m *machine) launcher(dir string) (*process, error) {
	if p := m.launchers[dir]; p != nil {
		return p, nil
	}
	p, err := startWorker("launcher-"+dir, dir)
	if err == nil {
		m.launchers[dir] = p
	}
	return p, err
}

// errCpuset is that the kernel does not take a cpuset.
var errCpuset = errors.New("cpuset")

// arrange sets up pools and holders.
func (m *machine) arrange(s scene) error {
	m.arranged = true
	for _, p := range m.holders {
		if _, err := p.do(command{Drop: true}); err != nil {
			return err
		}
	}
	if err := errors.Join(m.unlimit(), setOvercommit(0)); err != nil {
		return err
	}
	for i, node := range m.nodes {
		if err := setPool(node, s.Pools[i]); err != nil {
			return err
		}
	}
	if err := errors.Join(setOvercommit(s.Overcommit), m.cover(s.Mount)); err != nil {
		return err
	}
	for i, h := range s.Holders {
		// What does not go is not held; the survey sees what is.
		if _, err := m.holders[i].do(h.command(m.allCPUs[i%len(m.allCPUs)])); err != nil {
			return err
		}
	}
	if s.Resized != nil {
		for i, node := range m.nodes {
			if err := setPool(node, s.Resized[i]); err != nil {
				return err
			}
		}
	}
	return m.limit(s.Group)
}

// launch plays the launch of a scene's domain once and gives everything back.
func (m *machine) launch(s scene, v variant) (answer, error) {
	c, cpuset := s.Domain.command(v, m)
	var cpus guard.CPUSet
	if *v.Releases.Cpuset {
		cpus = s.Domain.Pin
	}
	dir, err := m.emulator(s.Group, cpuset, cpus)
	if err == nil && c.TaskMode != mpolDefault {
		c.Enter = dir
		if dir, err = m.emulator(group{}, nil, nil); dir == c.Enter {
			c.Enter = ""
		}
		c.Leave = dir
	}
	var p *process
	if err == nil {
		p, err = m.launcher(dir)
	}
	if errors.Is(err, errCpuset) {
		return answer{Failed: true, Step: "cpuset", ID: "emulator", Error: errorName(err)}, nil
	}
	if err != nil {
		return answer{}, err
	}
	c.Drop = true
	return p.do(c)
}

// counters returns the pools' counters as one text. It is a cheap way to see
// whether they are as they were.
func (m *machine) counters() (string, error) {
	if m.counterFDs == nil {
		names := []string{poolDir + "/nr_hugepages", poolDir + "/free_hugepages", poolDir + "/resv_hugepages", poolDir + "/surplus_hugepages"}
		for _, node := range m.nodes {
			for _, name := range []string{"nr_hugepages", "free_hugepages", "surplus_hugepages"} {
				names = append(names, fmt.Sprintf("%s/node%d/hugepages/%s/%s", nodeDir, node, poolName, name))
			}
		}
		for _, name := range names {
			fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
			m.counterFDs = append(m.counterFDs, fd)
		}
	}
	var text []byte
	for _, fd := range m.counterFDs {
		var buf [32]byte
		n, err := unix.Pread(fd, buf[:], 0)
		if err != nil {
			return "", err
		}
		text = append(text, buf[:n]...)
	}
	return string(text), nil
}

// outcome is what Judge and the kernel say about a scene.
type outcome struct {
	scene    scene
	demand   guard.Demand
	host     guard.Host
	counters string
	verdict  guard.Verdict
	plays    []play
}

// play is a variant and how it ended, each time.
type play struct {
	variant variant
	known   guard.Verdict // of who knows the variant's releases
	answers []answer
}

var errRestless = errors.New("the state does not rest")

// judge asks the guard about the arranged scene.
func (m *machine) judge(s scene) (*outcome, error) {
	demand, err := guarddomain.Parse(s.Domain.xml("case"))
	if err != nil {
		return nil, err
	}
	host, err := survey.Counters(m.fs, survey.For(demand))
	if err != nil {
		return nil, err
	}
	counters, err := m.counters()
	if err != nil {
		return nil, err
	}
	return &outcome{scene: s, demand: demand, host: host, counters: counters, verdict: guard.Judge(demand, host)}, nil
}

// add plays a variant some times, each on the state that was judged.
func (m *machine) add(o *outcome, v variant, times int) error {
	served := o.host
	served.Releases = v.Releases
	p := play{variant: v, known: guard.Judge(o.demand, served)}
	for range times {
		if !m.arranged {
			if err := m.arrange(o.scene); err != nil {
				return err
			}
			again, err := m.counters()
			if err != nil {
				return err
			}
			if again != o.counters {
				return errRestless
			}
		}
		a, err := m.launch(o.scene, v)
		if err != nil {
			return err
		}
		p.answers = append(p.answers, a)
		again, err := m.counters()
		if err != nil {
			return err
		}
		m.arranged = again == o.counters
	}
	o.plays = append(o.plays, p)
	return nil
}

// counts is how many launches started and how many failed.
func counts(plays ...play) (started, failed int) {
	for _, p := range plays {
		for _, a := range p.answers {
			if a.Failed {
				failed++
			} else {
				started++
			}
		}
	}
	return started, failed
}

// fate is the outcome of plays in a word.
func fate(plays ...play) string {
	switch started, failed := counts(plays...); {
	case failed == 0:
		return "started"
	case started == 0:
		return "failed"
	}
	return "both"
}

const (
	badRefusal   = "refused though it starts"
	badAllowance = "allowed though it fails"
	knowing      = ", by one who knows the releases"
)

// bad says what is wrong with a verdict, "" for nothing, and which play shows
// it.
func (o *outcome) bad() (kind string, by variant) {
	for _, p := range o.plays {
		if kind := p.against(o.verdict); kind != "" {
			return kind, p.variant
		}
		if kind := p.against(p.known); kind != "" {
			return kind + knowing, p.variant
		}
	}
	return "", by
}

// against says what is wrong with a verdict on a play, "" for nothing.
func (p play) against(v guard.Verdict) string {
	switch started, failed := counts(p); {
	case failed > 0 && v.Decision == guard.Allow:
		return badAllowance
	case started > 0 && v.Decision == guard.Refuse:
		return badRefusal
	}
	return ""
}
