package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/spf13/cobra"
)

// errInterrupted is the error of a command that was interrupted.
var errInterrupted = errors.New("interrupted")

// An interrupt ends a command at once, whatever it waits for. Work that must not be broken off holds it back, and ends
// by itself when its context is done.
type interrupt struct {
	free chan struct{} // holds one element while nothing holds the interrupt back

	sync.Mutex
	temporary []string // directories to remove when the command ends
}

// interruptKey is the key of the command's interrupt in its context.
type interruptKey struct{}

func interruptOf(cmd *cobra.Command) *interrupt {
	return cmd.Context().Value(interruptKey{}).(*interrupt)
}

// hold holds the interrupt back until release is called or the command ends. It does not return if the interrupt came
// first.
func (i *interrupt) hold() (release func()) {
	<-i.free
	return func() { i.free <- struct{}{} }
}

// removes makes the command remove a directory when it ends.
func (i *interrupt) removes(dir string) {
	i.Lock()
	defer i.Unlock()
	i.temporary = append(i.temporary, dir)
}

// interruptible runs a command, and returns early if ctx is done. In any case it removes what was to be removed.
func interruptible(ctx context.Context, command func(context.Context) error) error {
	i := &interrupt{free: make(chan struct{}, 1)}
	i.free <- struct{}{}
	defer func() {
		i.Lock()
		defer i.Unlock()
		for _, dir := range i.temporary {
			os.RemoveAll(dir)
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- command(context.WithValue(ctx, interruptKey{}, i)) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		select {
		case err = <-ended:
		case <-i.free: // never given back: from now on no work can hold it back
			err = errInterrupted
		}
	}
	if err == context.Canceled {
		err = errInterrupted
	}
	return err
}
