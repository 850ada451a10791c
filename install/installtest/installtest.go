// Package installtest has what tests of install need: hook programs, and listings of trees.
package installtest

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Hook returns a version of the hook program that is no more than what tells it from others: an ELF file with what Go
// writes into each program that it builds. It cannot be run; Programs builds some that can.
func Hook(version string) []byte {
	info := fmt.Sprintf("path\thugeguard/hook/qemu\nmod\thugeguard\t%s\t\nbuild\tGOARCH=%s\n", version, runtime.GOARCH)
	// As debug/buildinfo reads it: a head of 32 bytes with the flag for what follows, two strings with their lengths,
	// the second in an envelope of 16 bytes at either end.
	data := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	envelope := strings.Repeat("-", 16)
	for _, text := range []string{runtime.Version(), envelope + info + envelope} {
		data = append(binary.AppendUvarint(data, uint64(len(text))), text...)
	}
	head := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Version: uint32(elf.EV_CURRENT),
		Ehsize:  uint16(binary.Size(elf.Header64{})), Phentsize: uint16(binary.Size(elf.Prog64{})), Phnum: 1,
	}
	head.Phoff = uint64(head.Ehsize)
	at := head.Phoff + uint64(head.Phentsize)
	at += -at % 16 // where it is looked for
	const base = 0x10000
	segment := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W),
		Off: at, Vaddr: base + at, Paddr: base + at, Filesz: uint64(len(data)), Memsz: uint64(len(data)), Align: 1,
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, head) // a buffer takes all
	binary.Write(&b, binary.LittleEndian, segment)
	b.Write(make([]byte, at-uint64(b.Len())))
	b.Write(data)
	return b.Bytes()
}

// Programs builds in dir two versions of a program that only its package path makes hugeguard's hook program, and one
// that is another. Each prints its version on stdout and ends with its standard input.
func Programs(dir string) (v1, v2, other string, err error) {
	const main = `package main

import (
	"io"
	"os"
)

var version string

func main() {
	os.Stdout.WriteString(version + "\n")
	io.Copy(io.Discard, os.Stdin)
}
`
	for name, text := range map[string]string{
		"go.mod":            "module hugeguard\n\ngo 1.23\n",
		"hook/qemu/main.go": main,
		"other/main.go":     main,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", "", "", err
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return "", "", "", err
		}
	}
	build := func(version, pkg string) string {
		out := filepath.Join(dir, version)
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.version="+version, "-o", out, pkg)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0")
		if text, failed := cmd.CombinedOutput(); failed != nil {
			err = fmt.Errorf("%v: %w\n%s", cmd, failed, text)
		}
		return out
	}
	return build("v1", "./hook/qemu"), build("v2", "./hook/qemu"), build("v0", "./other"), err
}

// List describes all that lies below dir, one line a file: mode, owner, links, name, then the digest of the content or
// the target. Two trees with one listing differ in their times alone.
func List(dir string) (string, error) {
	var b bytes.Buffer
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		rel := strings.TrimPrefix(name, dir)
		fmt.Fprintf(&b, "%v %d:%d ", fi.Mode(), st.Uid, st.Gid)
		switch {
		case fi.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%d %s -> %s\n", st.Nlink, rel, target)
		case fi.Mode().IsRegular():
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%d %s %x\n", st.Nlink, rel, sha256.Sum256(data))
		default:
			fmt.Fprintf(&b, "- %s\n", rel)
		}
		return nil
	})
	return b.String(), err
}
