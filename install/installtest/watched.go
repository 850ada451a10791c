package installtest

import (
	"context"
	"sync"
)

// Watched is a context that says when somebody first asks whether it is done.
type Watched struct {
	context.Context
	Asked chan struct{} // closed then
	once  sync.Once
}

// Watch watches a context.
func Watch(ctx context.Context) *Watched {
	return &Watched{Context: ctx, Asked: make(chan struct{})}
}

// Done implements [context.Context].
func (w *Watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.Asked) })
	return w.Context.Done()
}

// Err implements [context.Context].
func (w *Watched) Err() error {
	w.once.Do(func() { close(w.Asked) })
	return w.Context.Err()
}

// Polled is a Watched that tells no asking for Done: who asks again and again, with Err, waits for something else.
type Polled struct{ *Watched }

// Done implements [context.Context].
func (p Polled) Done() <-chan struct{} { return p.Watched.Context.Done() }
