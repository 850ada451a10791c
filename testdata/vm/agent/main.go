// Agent runs inside the box and does what it is told over a virtio serial port (package wire). Called as
// "hold" it is a process that holds huge pages (hold.go), as "fragment" it leaves memory in pieces (fragment.go).
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"hugeguard/install/capture"
	"hugeguard/sysfs"
	"hugeguard/testdata/machine"
	"hugeguard/testdata/vm/wire"
)

func main() {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "hold":
		err = hold(os.Args[2:])
	case len(os.Args) > 2 && os.Args[1] == "fragment":
		if err = fragment(os.Args[2]); err == nil {
			return
		}
	default:
		err = serve("/dev/virtio-ports/" + wire.Port)
	}
	fmt.Fprintln(os.Stderr, "agent:", err)
	os.Exit(1)
}

// serve answers requests until the port breaks.
func serve(port string) error {
	f, err := os.OpenFile(port, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(f, 1<<20)
	a := agent{started: map[int]*exec.Cmd{}}
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			time.Sleep(100 * time.Millisecond) // nobody is connected
			continue
		}
		if err != nil {
			return err
		}
		var request wire.Request
		var reply wire.Reply
		if err := json.Unmarshal(line, &request); err != nil {
			reply.Error = err.Error()
		} else if reply, err = a.answer(request); err != nil {
			reply.Error = err.Error()
		}
		text, err := json.Marshal(reply)
		if err != nil {
			return err
		}
		if _, err := f.Write(append(text, '\n')); err != nil {
			return err
		}
	}
}

type agent struct {
	started map[int]*exec.Cmd
}

func (a *agent) answer(r wire.Request) (wire.Reply, error) {
	switch {
	case r.Run != nil:
		return run(*r.Run)
	case r.Start != nil:
		return a.start(*r.Start)
	case r.Stop != 0:
		cmd, ok := a.started[r.Stop]
		if !ok {
			return wire.Reply{}, fmt.Errorf("no process %d was started", r.Stop)
		}
		delete(a.started, r.Stop)
		cmd.Process.Kill()
		cmd.Wait() // its status is the signal's
		return wire.Reply{}, nil
	case r.Read != nil:
		return wire.Reply{Files: read(r.Read)}, nil
	case r.Pool != nil:
		return wire.Reply{}, machine.SetPool(r.Pool.Dir, r.Pool.Pages)
	case r.Capture:
		packed, err := pack()
		return wire.Reply{Packed: packed}, err
	}
	for _, file := range r.Write {
		// Not created where it is missing: most of them are the kernel's.
		if err := write(file); err != nil {
			return wire.Reply{}, err
		}
	}
	return wire.Reply{}, nil
}

// run runs a program. One that has not ended in time is killed. What it reads and says is in files: children that it
// leaves
// may keep them open.
func run(c wire.Command) (reply wire.Reply, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Seconds*float64(time.Second)))
	defer cancel()
	var files [3]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp("", ""); err != nil {
			return reply, err
		}
		defer files[i].Close()
		if err := os.Remove(files[i].Name()); err != nil {
			return reply, err
		}
	}
	if _, err := files[0].WriteString(c.Stdin); err != nil {
		return reply, err
	}
	if _, err := files[0].Seek(0, io.SeekStart); err != nil {
		return reply, err
	}
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0], files[1], files[2]
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	err = cmd.Run()
	for i, said := range []*string{&reply.Stdout, &reply.Stderr} {
		text, err := io.ReadAll(io.NewSectionReader(files[i+1], 0, math.MaxInt64))
		if err != nil {
			return reply, err
		}
		*said = string(text)
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return reply, fmt.Errorf("%q has not ended within %v s", c.Args, c.Seconds)
	case errors.As(err, &exit):
		reply.Exit, err = exit.ExitCode(), nil
	}
	return reply, err
}

// start starts a program that is to stay, and waits for its first line.
func (a *agent) start(c wire.Command) (wire.Reply, error) {
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return wire.Reply{}, err
	}
	if err := cmd.Start(); err != nil {
		return wire.Reply{}, err
	}
	timer := time.AfterFunc(time.Duration(c.Seconds*float64(time.Second)), func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	timer.Stop()
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return wire.Reply{}, fmt.Errorf("%q: %w: %s", c.Args, err, stderr.Bytes())
	}
	a.started[cmd.Process.Pid] = cmd
	return wire.Reply{PID: cmd.Process.Pid, Stdout: line}, nil
}

// pack returns the box as hugeguard captures a host.
func pack() ([]byte, error) {
	c, err := capture.Take(context.Background(), sysfs.New(""), capture.Options{Version: "numabox", Patience: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	err = errors.Join(c.Pack(zip), zip.Close())
	return packed.Bytes(), err
}

// read returns what can be read of the files that match; what cannot be read is not there.
func read(patterns []string) map[string]string {
	files := map[string]string{}
	for _, pattern := range patterns {
		names, _ := filepath.Glob(pattern) // the patterns are sound
		for _, name := range names {
			if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if data, err := os.ReadFile(name); err == nil {
				files[name] = string(data)
			}
		}
	}
	return files
}

func write(file wire.File) error {
	f, err := os.OpenFile(file.Path, os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(file.Data)
	return errors.Join(err, f.Close())
}
