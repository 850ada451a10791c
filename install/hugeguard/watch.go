package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hugeguard/install/status"
)

// The shortest and the longest time between two screens, in seconds.
const (
	shortestInterval = 0.1
	longestInterval  = 24 * 60 * 60
)

// parseInterval parses the argument of --watch, in seconds.
func parseInterval(text string) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds < shortestInterval || seconds > longestInterval {
		return 0, usageError{fmt.Errorf("--watch=%s: it must be a number of seconds from %v to %v", text, shortestInterval, longestInterval)}
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// Control sequences of xterm, which all other terminals know: to show another screen without a cursor, and what was
// there before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[2K"
	clearBelow  = "\x1b[J"
)

// watch shows the status again and again, with an interval between, until the context is done. On a terminal each
// replaces the one before, and at the end what was there before comes back; elsewhere a blank line separates them,
// unless each is one line of JSON. It returns the error for the last one.
func watch(ctx context.Context, view statusView, interval time.Duration, read func(context.Context) (status.Report, error)) error {
	l, err := lookOf(view.out, "never")
	if err != nil {
		return err
	}
	w := watcher{view: view, interval: interval, redraws: l.moves && !view.json}
	var resized, stopped chan os.Signal
	if w.redraws {
		resized, stopped = make(chan os.Signal, 1), make(chan os.Signal, 1)
		signal.Notify(resized, syscall.SIGWINCH)
		signal.Notify(stopped, syscall.SIGTSTP)
		defer signal.Stop(resized)
		defer signal.Stop(stopped)
		if err := w.write(enterScreen); err != nil {
			return err
		}
		defer w.write(leaveScreen)
	}
	reads := readLater(ctx, read)
	var pause <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			if w.last == nil {
				return nil
			}
			return liveness(*w.last)
		case r := <-reads:
			if r.err != nil && ctx.Err() != nil {
				continue // because of that
			}
			err = w.show(r)
			pause = time.After(interval)
		case <-pause:
			reads = readLater(ctx, read)
		case <-resized:
			err = w.draw()
		case <-stopped:
			err = w.suspend()
		}
		if err != nil {
			return err
		}
	}
}

// A reading is the result of reading a status.
type reading struct {
	status.Report
	err error
}

// readLater reads the status in the background, so that a hung reading does not keep the command from ending.
func readLater(ctx context.Context, read func(context.Context) (status.Report, error)) <-chan reading {
	reads := make(chan reading, 1)
	go func() {
		r, err := read(ctx)
		reads <- reading{r, err}
	}()
	return reads
}

// A watcher shows one status after the other.
type watcher struct {
	view     statusView
	interval time.Duration
	redraws  bool           // one screen takes the place of the other
	last     *status.Report // nil before the first
}

func (w *watcher) write(text string) error {
	_, err := io.WriteString(w.view.out, text)
	return err
}

// show shows what was read.
func (w *watcher) show(r reading) error {
	if r.err != nil {
		return r.err
	}
	if w.last != nil && !w.redraws && !w.view.json {
		if err := w.write("\n"); err != nil {
			return err
		}
	}
	w.last = &r.Report
	return w.draw()
}

// draw shows the last status, if there is one.
func (w *watcher) draw() error {
	if w.last == nil {
		return nil
	}
	text, err := w.view.text(*w.last)
	if err != nil {
		return err
	}
	if w.redraws {
		l, _ := lookOf(w.view.out, "never")
		text = onScreen(fmt.Sprintf("every %v, until Ctrl-C: %s\n%s", w.interval, time.Now().Format("Jan _2 15:04:05"), text), l.rows)
	}
	return w.write(text)
}

// suspend stops the program on Ctrl-Z, with the terminal as it was, until it is continued.
func (w *watcher) suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	if err := w.write(leaveScreen); err != nil {
		return err
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		return err
	}
	<-continued
	if err := w.write(enterScreen); err != nil {
		return err
	}
	return w.draw()
}

// onScreen returns the sequence that puts text in place of what a screen of so many rows shows.
func onScreen(text string, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if over := len(lines) - rows; over > 0 {
		lines = append(lines[:rows-1:rows-1], fmt.Sprintf("... and %d more lines", over+1))
	}
	// A line is cleared before it is written: after it the cursor may still be on its last letter.
	screen := toTop + clearLine + strings.Join(lines, "\r\n"+clearLine)
	if len(lines) < rows {
		screen += "\r\n" + clearBelow
	}
	return screen
}
