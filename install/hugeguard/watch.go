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
)

// The shortest time between two screens, and the longest, in seconds.
const (
	shortestInterval = 0.1
	longestInterval  = 24 * 60 * 60
)

// parseInterval parses the argument of --watch, in seconds.
func parseInterval(text string) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || seconds < shortestInterval || seconds > longestInterval {
		return 0, usageError{fmt.Errorf("--watch=%s: a number of seconds from %v to %v is needed", text, shortestInterval, longestInterval)}
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// What a terminal is told (xterm's control sequences, which all others know): to show another screen, without
// a cursor, and what was there before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	clearLine   = "\x1b[2K"
	clearBelow  = "\x1b[J"
)

// watch shows the status again and again, an interval after the last time, until the context is done. On a
// terminal one screen takes the place of the other, and at the end of what was there before; elsewhere a
// blank line is between them, or none if each is one line of its own. It ends as the last one shown does.
func watch(ctx context.Context, out io.Writer, interval time.Duration, oneLined bool, read func(context.Context) (status, error), show func(status) (string, error)) error {
	l, err := lookOf(out, "never")
	if err != nil {
		return err
	}
	redraws := l.moves && !oneLined
	var resized, stopped, goesOn chan os.Signal
	if redraws {
		resized, stopped, goesOn = make(chan os.Signal, 1), make(chan os.Signal, 1), make(chan os.Signal, 1)
		signal.Notify(resized, syscall.SIGWINCH)
		signal.Notify(stopped, syscall.SIGTSTP)
		signal.Notify(goesOn, syscall.SIGCONT)
		defer signal.Stop(resized)
		defer signal.Stop(stopped)
		defer signal.Stop(goesOn)
		if _, err := io.WriteString(out, enterScreen); err != nil {
			return err
		}
		defer io.WriteString(out, leaveScreen)
	}
	type reading struct {
		status
		err error
	}
	var last *status
	draw := func() error {
		text, err := show(*last)
		if err != nil {
			return err
		}
		if redraws {
			l, _ := lookOf(out, "never")
			text = onScreen(fmt.Sprintf("every %v, until Ctrl-C: %s\n%s", interval, time.Now().Format("Jan _2 15:04:05"), text), l.rows)
		}
		_, err = io.WriteString(out, text)
		return err
	}
	for {
		// What is read is waited for by nobody who wants to go.
		reads := make(chan reading, 1)
		go func() {
			s, err := read(ctx)
			reads <- reading{s, err}
		}()
		var pause <-chan time.Time
		for again := false; !again; {
			select {
			case <-ctx.Done():
				if last != nil && !last.Hook.Live {
					return errNotLive
				}
				return nil
			case r := <-reads:
				if r.err != nil && ctx.Err() != nil {
					continue // that is why
				}
				if r.err != nil {
					return r.err
				}
				if last != nil && !redraws && !oneLined {
					if _, err := io.WriteString(out, "\n"); err != nil {
						return err
					}
				}
				last = &r.status
				if err := draw(); err != nil {
					return err
				}
				pause = time.After(interval)
			case <-pause:
				again = true
			case <-resized:
				if last != nil {
					if err := draw(); err != nil {
						return err
					}
				}
			case <-stopped:
				// Ctrl-Z: whoever stops it wants the terminal as it was.
				if _, err := io.WriteString(out, leaveScreen); err != nil {
					return err
				}
				if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
					return err
				}
				<-goesOn
				if _, err := io.WriteString(out, enterScreen); err != nil {
					return err
				}
				if last != nil {
					if err := draw(); err != nil {
						return err
					}
				}
			}
		}
	}
}

// onScreen is text in place of what a screen of so many rows shows.
func onScreen(text string, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if over := len(lines) - rows; over > 0 {
		lines = append(lines[:rows-1:rows-1], fmt.Sprintf("... and %d more lines", over+1))
	}
	// A line is emptied before it is written: at its end the cursor may still stand on its last letter.
	screen := toTop + clearLine + strings.Join(lines, "\r\n"+clearLine)
	if len(lines) < rows {
		screen += "\r\n" + clearBelow
	}
	return screen
}
