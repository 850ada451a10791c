package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// Run runs the command with the arguments after its name and returns its exit status. It prints an error on one line of
// stderr. A bug of hugeguard is an error as well, and so is an interrupt, when ctx is done.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	stderr = &oneAtATime{to: stderr}
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := interruptible(ctx, func(ctx context.Context) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("internal error: %v", p)
			}
		}()
		return root.ExecuteContext(ctx)
	})
	if err != nil && err != errRefused && err != errNotLive {
		hint := ""
		if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
			hint = ": run it as root"
		}
		fmt.Fprintf(stderr, "hugeguard: %s%s\n", oneLine(err.Error()), hint)
	}
	return exitStatus(err)
}

// oneAtATime lets one write at a time: [tellIfHung] writes beside the command.
type oneAtATime struct {
	sync.Mutex
	to io.Writer
}

func (w *oneAtATime) Write(text []byte) (int, error) {
	w.Lock()
	defer w.Unlock()
	return w.to.Write(text)
}
