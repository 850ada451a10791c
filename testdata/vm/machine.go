package vm

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

	"hugeguard/testdata/vm/wire"
)

// A Machine is one that runs.
type Machine struct {
	Context context.Context
	Dir     string // for this run alone
	Image   *Image
	Cmdline string        // of the kernel, beside what all have
	Args    []string      // of QEMU: CPUs, memory, nodes, and further devices
	Lasts   bool          // what it writes to its disk outlives a [Machine.Reboot]
	Ended   chan struct{} // closed when QEMU is gone

	crashed int // how often
	qemu    *exec.Cmd
	port    net.Conn // to the agent
	answer  *bufio.Reader
}

// cmdline keeps the kernel from work that counts under emulation: it would take the HPET, whose every reading
// leaves the emulated CPU, for its clock, and fence off weaknesses that an emulated CPU does not have. Nor is it to
// clear and copy pages by instructions that repeat (REP STOS and its like), of which the emulation takes each round for
// one of its own: a boot takes a fifth less without. Debian's also clears all memory that anybody allocates
// (init_on_alloc), huge pages a second time.
const cmdline = "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=false tsc=reliable mitigations=off clearcpuid=rep_good init_on_alloc=0 panic=-1 "

// cpu has what DPDK wants. What is left out makes every memory access of the emulation dearer, or has programs clear and
// copy memory by instructions that repeat (erms).
const cpu = "max,la57=off,pku=off,smap=off,smep=off,umip=off,svm=off,erms=off"

// ErrDown is that the machine has ended by itself.
var ErrDown = errors.New("the box went down")

// crashes is how often a machine may crash in a run: QEMU's emulation is not perfect.
const crashes = 2

// Again does something that a crash of the machine interrupts once more on a new one.
func (b *Machine) Again(do func() error) error {
	for {
		err := do()
		if !errors.Is(err, ErrDown) || b.crashed == crashes {
			return err
		}
		b.crashed++
		b.KeepConsole()
		Say("the box crashed; booting it again")
		b.Stop()
		if err := b.Start(); err != nil {
			return fmt.Errorf("boot: %w", err)
		}
	}
}

// Product is the file system that the machine mounts at /opt/numabox: the agent, and what is to be tested.
func (b *Machine) Product() string { return b.Path("product.img") }

// Start boots the machine from the image and waits for its agent.
func (b *Machine) Start() error {
	if b.Lasts {
		if err := Step(b.Context, "", "cp", "--reflink=auto", "--sparse=always", b.Image.Disk(), b.disk()); err != nil {
			return err
		}
	}
	return b.boot(b.Cmdline)
}

// Reboot has a command in the machine end it, and boots it again with something else in place of Cmdline.
func (b *Machine) Reboot(command, told string) error {
	if _, err := b.Sh(command); err != nil && !errors.Is(err, ErrDown) {
		return err
	}
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-b.Ended:
	case <-b.Context.Done():
		return context.Cause(b.Context)
	case <-timer.C:
		return fmt.Errorf("the box has not ended within %v of %s", Patience, command)
	}
	b.port.Close()
	return b.boot(told)
}

// disk is the root file system, a copy of the image if it is to last.
func (b *Machine) disk() string {
	if b.Lasts {
		return b.Path("root.img")
	}
	return b.Image.Disk()
}

// boot starts QEMU and waits for the agent.
func (b *Machine) boot(told string) error {
	snapshot := "on"
	if b.Lasts {
		snapshot = "off"
	}
	args := append([]string{"-machine", "q35", "-cpu", cpu,
		"-kernel", filepath.Join(b.Image.Dir, "vmlinuz"), "-initrd", filepath.Join(b.Image.Dir, "initrd.img"), "-append", cmdline + told,
		"-drive", "file=" + b.disk() + ",if=virtio,format=raw,cache=unsafe,snapshot=" + snapshot,
		"-drive", "file=" + b.Product() + ",if=virtio,format=raw,readonly=on",
		"-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "file:" + b.Path("console"), "-serial", "unix:" + b.Path("shell") + ",server=on,wait=off",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=agent,server=on,wait=off,path=" + b.Path("agent"),
		"-device", "virtserialport,chardev=agent,name=" + wire.Port}, b.Args...)
	b.qemu = exec.Command("qemu-system-x86_64", args...)
	b.qemu.Env = append(os.Environ(), "TMPDIR="+b.Dir)
	var stderr strings.Builder
	b.qemu.Stderr = &stderr
	// A signal from the terminal must reach only us, who then end it.
	b.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := b.qemu.Start(); err != nil {
		return err
	}
	b.Ended = make(chan struct{})
	go func() {
		b.qemu.Wait()
		close(b.Ended)
	}()
	began := time.Now()
	for b.port = nil; b.port == nil; {
		var err error
		if b.port, err = net.Dial("unix", b.Path("agent")); err == nil {
			break
		}
		select {
		case <-b.Ended:
			return fmt.Errorf("qemu-system-x86_64: %s", strings.TrimSpace(stderr.String()))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > Patience {
			return fmt.Errorf("no socket of QEMU's: %w", err)
		}
	}
	b.answer = bufio.NewReaderSize(b.port, 1<<20)
	_, err := b.Call(wire.Request{Read: []string{"/proc/version"}}, Patience)
	return err
}

// Attach asks the agent through another program, which lends the machine at a socket (see [Machine.Lend]).
func (b *Machine) Attach(socket string) (err error) {
	b.Ended = make(chan struct{})
	if b.port, err = net.Dial("unix", socket); err == nil {
		b.answer = bufio.NewReaderSize(b.port, 1<<20)
	}
	return err
}

// Lend passes on to the agent what other programs ask at a socket, one after the other, until the context ends.
func (b *Machine) Lend(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	context.AfterFunc(b.Context, func() { listener.Close() })
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		err = b.serve(conn)
		fmt.Fprintln(os.Stderr, "a play ended:", err)
	}
}

// serve passes on to the agent what another program asks, until it hangs up.
func (b *Machine) serve(conn net.Conn) error {
	defer conn.Close()
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	for {
		var request wire.Request
		if err := in.Decode(&request); err != nil {
			return err
		}
		reply, err := b.Call(request, Patience+time.Minute)
		if err != nil && reply.Error == "" {
			return err
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
}

// Stop ends the box. Nothing in it is worth a shutdown.
func (b *Machine) Stop() {
	if b.port != nil {
		b.port.Close()
	}
	if b.qemu != nil && b.Ended != nil {
		b.qemu.Process.Kill()
		<-b.Ended
	}
}

// Path is a file of this run alone.
func (b *Machine) Path(name string) string { return filepath.Join(b.Dir, name) }

// Call asks the agent for something and waits for the answer until the limit.
func (b *Machine) Call(r wire.Request, limit time.Duration) (wire.Reply, error) {
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
	case <-b.Context.Done():
		err = context.Cause(b.Context)
	case <-b.Ended:
		err = ErrDown
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

// Patience is how long anything is waited for until it is taken for something that will never be: the box to boot, a
// command in it to end. It takes a minute or two at most on a machine with nothing else to do.
const Patience = 30 * time.Minute

// Run runs a program in the box; status says how it ended.
func (b *Machine) Run(stdin string, args ...string) (wire.Reply, error) {
	return b.Call(wire.Request{Run: &wire.Command{Args: args, Stdin: stdin, Seconds: Patience.Seconds()}}, Patience+30*time.Second)
}

// Must runs a program in the box that has to succeed, and returns what it printed.
func (b *Machine) Must(args ...string) (string, error) {
	r, err := b.Run("", args...)
	if err == nil && r.Exit != 0 {
		err = fmt.Errorf("%q: exit status %d: %s", args, r.Exit, strings.TrimSpace(r.Stderr+r.Stdout))
	}
	return r.Stdout, err
}

// Sh runs a script of the box's shell that has to succeed.
func (b *Machine) Sh(script string) (string, error) { return b.Must("sh", "-euc", script) }

// Read returns the contents of all files that match the patterns, by name.
func (b *Machine) Read(patterns ...string) (map[string]string, error) {
	r, err := b.Call(wire.Request{Read: patterns}, Patience)
	return r.Files, err
}

// Write writes files, in order.
func (b *Machine) Write(files ...wire.File) error {
	_, err := b.Call(wire.Request{Write: files}, Patience)
	return err
}

// KeepConsole saves what the machine printed, to show why it failed.
func (b *Machine) KeepConsole() {
	text, err := os.ReadFile(b.Path("console"))
	if err != nil {
		return
	}
	to := filepath.Join(os.TempDir(), "hugeguard-numabox.console")
	if err := os.WriteFile(to, text, 0o644); err != nil {
		return
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	fmt.Fprintf(os.Stderr, "the box's console is in %s; it ends with\n%s\n", to, strings.Join(lines[max(0, len(lines)-10):], "\n"))
}
