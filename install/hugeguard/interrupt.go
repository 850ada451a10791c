package main

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/spf13/cobra"
)

// errInterrupted is that somebody did not want to wait for the end.
var errInterrupted = errors.New("interrupted")

// An interrupt ends a command at once, whatever it waits for. What must not be
// broken off holds it back, and ends by itself as its context is done.
type interrupt struct {
	free chan struct{} // has one element while nobody holds it back

	sync.Mutex
	temporary []string // directories that go with the command
}

// interruptKey is the key of the command's interrupt in its context.
type interruptKey struct{}

func interruptOf(cmd *cobra.Command) *interrupt {
	return cmd.Context().Value(interruptKey{}).(*interrupt)
}

// hold holds the interrupt back until release is called, or until the command has
// ended. It never returns where one has come first.
func (i *interrupt) hold() (release func()) {
	<-i.free
	return func() { i.free <- struct{}{} }
}

// removes has a directory removed at the command's end.
func (i *interrupt) removes(dir string) {
	i.Lock()
	defer i.Unlock()
	i.temporary = append(i.temporary, dir)
}

// interruptible runs a command with a context that is done once it is interrupted,
// as the one it is given is. In every case all that was to be removed has gone afterwards.
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
		case <-i.free: // for good: nothing begins any more that must not be broken off
			err = errInterrupted
		}
	}
	if err == context.Canceled {
		err = errInterrupted
	}
	return err
}
