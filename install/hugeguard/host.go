package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hugeguard/install/capture"
	"hugeguard/sysfs"
)

// rootFlag adds --root to a command that only reads.
func rootFlag(cmd *cobra.Command, root *string) {
	cmd.Flags().StringVar(root, "root", "", "read `DIR`/sys, proc, etc, run, var, or a capture, in place of this host's")
	cmd.MarkFlagFilename("root")
}

// hostAt returns the host below the root, or this host without the flag. A capture in a file is unpacked until the
// command ends.
func hostAt(cmd *cobra.Command, root string) (sysfs.FS, error) {
	if !cmd.Flags().Changed("root") {
		return sysfs.New(""), nil
	}
	if root == "" {
		return sysfs.FS{}, usageError{errors.New("--root is empty: name a directory, or a file that capture wrote")}
	}
	info, err := os.Stat(root)
	if err != nil {
		return sysfs.FS{}, err
	}
	if info.Mode().IsRegular() {
		root, err = unpack(cmd, root)
		return sysfs.New(root), err
	}
	if _, err := os.ReadDir(root); err != nil {
		return sysfs.FS{}, err // or all of it would look like a host without huge pages
	}
	root, err = filepath.Abs(root)
	return sysfs.New(root), err
}

// unpack unpacks a capture until the command ends, and returns where.
func unpack(cmd *cobra.Command, name string) (dir string, err error) {
	i := interruptOf(cmd)
	defer i.hold()() // until it is unpacked, nothing else knows the directory
	dir, err = capture.Unpack(cmd.Context(), name)
	if err != nil {
		return "", err
	}
	dir, err = filepath.Abs(dir)
	i.removes(dir)
	return dir, err
}

// holdersDeadline limits the search for holders, which may take longer than at a start.
var holdersDeadline = 10 * time.Second

// tellIfHung prints on stderr that something does not answer, unless stop is called in time. After stop it does not write.
func tellIfHung(stderr io.Writer) (stop func()) {
	told := make(chan struct{})
	timer := time.AfterFunc(2*holdersDeadline, func() {
		defer close(told)
		fmt.Fprintln(stderr, "hugeguard: still waiting: a file system or a process that hugeguard reads does not answer, "+
			"and this command cannot end before it does")
	})
	return sync.OnceFunc(func() {
		if !timer.Stop() {
			<-told
		}
	})
}

// programFlag adds --hook to a command that inspects the hook.
func programFlag(cmd *cobra.Command, program *string) {
	cmd.Flags().StringVar(program, "hook", "", "the hook program that should be installed (default: as for install)")
	cmd.MarkFlagFilename("hook")
}
