package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"hugeguard/testdata/numabox/wire"
)

// A box is the running machine.
type box struct {
	ctx     context.Context
	dir     string // for this run alone
	image   *image
	hook    string // the hook program, for this machine
	command string // the admin's command, for this machine

	crashed int // how often

	qemu   *exec.Cmd
	ended  chan struct{} // closed when QEMU is gone
	port   net.Conn      // to the agent
	answer *bufio.Reader
}

// cmdline keeps the kernel from work that counts under emulation: it would take the HPET, whose every reading
// leaves the emulated CPU, for its clock, and fence off weaknesses that an emulated CPU does not have. Nor is it to
// clear and copy pages by instructions that repeat (REP STOS and its like), of which the emulation takes each round for
// one of its own: a boot takes a fifth less without. It has it make the largest pools at once: later there may be no
// room left in one piece.
const cmdline = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=false tsc=reliable mitigations=off clearcpuid=rep_good panic=-1 " +
	"hugepagesz=1G hugepages=0:1,1:1 hugepagesz=2M hugepages=0:1024,1:1024"

// cpu has what DPDK wants. What is left out makes every memory access of the emulation dearer, or has programs clear and
// copy memory by instructions that repeat (erms).
const cpu = "max,la57=off,pku=off,smap=off,smep=off,umip=off,svm=off,erms=off"

// errDown is that the box has ended by itself.
var errDown = errors.New("the box went down")

// crashes is how often the box may crash in a run: QEMU's emulation is not perfect.
const crashes = 2

// again does something that a crash of the box interrupts once more on a new one.
func (b *box) again(do func() error) error {
	for {
		err := do()
		if !errors.Is(err, errDown) || b.crashed == crashes {
			return err
		}
		b.crashed++
		keepConsole(b.path("console"))
		say("the box crashed; booting it again")
		b.stop()
		if err := b.start(); err != nil {
			return fmt.Errorf("boot: %w", err)
		}
	}
}

// start boots the box and waits for its agent.
func (b *box) start() error {
	// Two nodes of 5 GiB, with one CPU each: this machine may have no more. What the box does not touch costs nothing,
	// and with 4 GiB node 1 could not make its largest pool at some boots.
	// One thread of QEMU's emulates both in turn, and leaves the other CPU to the other tests: to start a guest takes
	// programs that wait for each other, on which two threads would spend more and win little.
	args := []string{"-machine", "q35", "-accel", "tcg,thread=single", "-cpu", cpu, "-smp", "2,sockets=2", "-m", "10240",
		"-object", "memory-backend-ram,id=m0,size=5120M", "-object", "memory-backend-ram,id=m1,size=5120M",
		"-numa", "node,nodeid=0,cpus=0,memdev=m0", "-numa", "node,nodeid=1,cpus=1,memdev=m1",
		"-kernel", b.image.kernel, "-initrd", b.image.initrd, "-append", b.image.commandLine(),
		"-drive", "file=" + b.image.disk + ",if=virtio,format=raw,snapshot=on,cache=unsafe",
		"-drive", "file=" + b.path("product.img") + ",if=virtio,format=raw,readonly=on",
		"-nodefaults", "-display", "none", "-no-reboot", "-net", "none",
		"-serial", "file:" + b.path("console"), "-serial", "unix:" + b.path("shell") + ",server=on,wait=off",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,server=on,wait=off,path=" + b.path("agent"),
		"-device", "virtserialport,chardev=agent,name=" + wire.Port}
	b.qemu = exec.Command("qemu-system-x86_64", args...)
	b.qemu.Env = append(os.Environ(), "TMPDIR="+b.dir)
	var stderr strings.Builder
	b.qemu.Stderr = &stderr
	// A signal from the terminal must reach only us, who then end it.
	b.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := b.qemu.Start(); err != nil {
		return err
	}
	b.ended = make(chan struct{})
	go func() {
		b.qemu.Wait()
		close(b.ended)
	}()
	began := time.Now()
	for b.port = nil; b.port == nil; {
		var err error
		if b.port, err = net.Dial("unix", b.path("agent")); err == nil {
			break
		}
		select {
		case <-b.ended:
			return fmt.Errorf("qemu-system-x86_64: %s", strings.TrimSpace(stderr.String()))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > patience {
			return fmt.Errorf("no socket of QEMU's: %w", err)
		}
	}
	b.answer = bufio.NewReaderSize(b.port, 1<<20)
	_, err := b.call(wire.Request{Read: []string{"/proc/version"}}, patience)
	return err
}

// stop ends the box. Nothing in it is worth a shutdown.
func (b *box) stop() {
	if b.port != nil {
		b.port.Close()
	}
	if b.qemu != nil && b.ended != nil {
		b.qemu.Process.Kill()
		<-b.ended
	}
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

// call asks the agent for something and waits for the answer until the limit.
func (b *box) call(r wire.Request, limit time.Duration) (wire.Reply, error) {
	var reply wire.Reply
	text, err := json.Marshal(r)
	if err != nil {
		return reply, err
	}
	done := make(chan error, 1)
	go func() {
		if _, err := b.port.Write(append(text, '\n')); err != nil {
			done <- err
			return
		}
		line, err := b.answer.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &reply)
		}
		done <- err
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err = <-done:
	case <-b.ctx.Done():
		err = context.Cause(b.ctx)
	case <-b.ended:
		err = errDown
	case <-timer.C:
		err = fmt.Errorf("the box did not answer within %v", limit)
	}
	if err != nil {
		b.port.Close() // ends the reader; what might still come would answer another question
		return wire.Reply{}, err
	}
	if reply.Error != "" {
		return reply, fmt.Errorf("in the box: %s", reply.Error)
	}
	return reply, nil
}

// patience is how long anything is waited for until it is taken for something that will never be: the box to boot, a
// command in it to end. It takes a minute or two at most on a machine with nothing else to do.
const patience = 30 * time.Minute

// run runs a program in the box; status says how it ended.
func (b *box) run(stdin string, args ...string) (wire.Reply, error) {
	return b.call(wire.Request{Run: &wire.Command{Args: args, Stdin: stdin, Seconds: patience.Seconds()}}, patience+30*time.Second)
}

// must runs a program in the box that has to succeed, and returns what it printed.
func (b *box) must(args ...string) (string, error) {
	r, err := b.run("", args...)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%q: exit status %d: %s", args, r.Exit, strings.TrimSpace(r.Stderr+r.Stdout))
	}
	return r.Stdout, err
}

// sh runs a script of the box's shell that has to succeed.
func (b *box) sh(script string) (string, error) { return b.must("sh", "-euc", script) }

func (b *box) read(patterns ...string) (map[string]string, error) {
	r, err := b.call(wire.Request{Read: patterns}, patience)
	return r.Files, err
}

func (b *box) write(files ...wire.File) error {
	_, err := b.call(wire.Request{Write: files}, patience)
	return err
}
