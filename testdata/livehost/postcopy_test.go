package livehost

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// claims is the neighbour's ledger of starting guests; "" without one.
func (n *neighbour) claims() (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/run/hugeguard/claims", n.pid()))
	if os.IsNotExist(err) {
		return "", nil
	}
	return string(text), err
}

// scramble fills the memory of a guest, which is a memfd, from some MiB on with what takes its time to be moved.
func (s *scene) scramble(d domain, from int) {
	s.t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.qemuPID(d)))
	s.must(err)
	for _, link := range links {
		if to, _ := os.Readlink(link); !strings.HasPrefix(to, "/memfd:memory-backend") {
			continue
		}
		file, err := os.OpenFile(link, os.O_RDWR, 0)
		s.must(err)
		defer file.Close()
		memory, err := syscall.Mmap(int(file.Fd()), 0, d.mib<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		s.must(err)
		rand.Read(memory[from<<20:])
		s.must(syscall.Munmap(memory))
		return
	}
	s.t.Fatalf("%s has no memfd among %q", d.name, links)
}

// A guest that is moved here and may go over to post-copy has all of its pages when it has started, and gives them back.
// Others are refused these until it has arrived.
func TestPostCopy(t *testing.T) {
	s := begin(t, 80)
	s.must(s.build())
	d, second := domain{name: "moves", mib: 64, cells: 1, source: "memfd", shared: true}, domain{name: "second", mib: 64, cells: 1}
	s.define(d)
	s.starts(d)
	s.virsh("resume", d.name)
	s.scramble(d, 8)
	n := s.neighbour(s.hook)
	file := s.path("second.xml")
	s.must(os.WriteFile(file, []byte(second.xml()), 0o644))

	moved := make(chan error, 1)
	go func() {
		_, err := virsh("migrate", "--live", "--postcopy", "--bandwidth", "1", d.name, n.uri, "--migrateuri", "unix://"+s.path("migration.sock"))
		moved <- err
	}()
	s.must(eventually(func() error {
		select {
		case err := <-moved:
			return stop{fmt.Errorf("the migration ended early: %v", err)}
		default:
		}
		claims, err := n.claims()
		if p := s.pool(); err == nil && (!strings.Contains(claims, "\n by post-copy\n") || p.free < 32) {
			err = fmt.Errorf("the pool is %+v, and these start: %s", p, claims)
		}
		return err
	}))
	p := s.pool()
	_, err := n.virsh("create", "--paused", file)
	t.Logf("with %d pages free and %d promised: %v", p.free, p.reserved, err)
	if err == nil || !strings.Contains(err.Error(), "for starting guests (moves)") {
		t.Errorf("another guest is started with %v; want a refusal that names the guest that is moved", err)
	}

	s.virsh("migrate-postcopy", d.name)
	s.must(<-moved)
	out, err := n.virsh("domstate", d.name)
	s.must(err)
	if strings.TrimSpace(out) != "running" {
		t.Errorf("after the migration the guest is %s", out)
	}
	_, err = n.virsh("create", "--paused", file)
	s.must(err)
	claims, err := n.claims()
	s.must(err)
	if claims != "" {
		t.Errorf("after the starts these have claims:\n%s", claims)
	}
	for _, name := range []string{d.name, second.name} {
		_, err := n.virsh("destroy", name)
		s.must(err)
	}
}
