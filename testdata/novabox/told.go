package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// A story is what the API tells of what failed. Faults and events have details that only admins get.
type story struct {
	fault   *regexp.Regexp // the fault's message; nil where there is no fault
	details *regexp.Regexp // the fault's details
	event   string         // the event of the last action that failed; "" where all say that they did not
	why     *regexp.Regexp // the event's details
}

// seers are those who may see an instance: an admin, and whose it is.
func (p *play) seers(s server) []*user {
	if s.owner == p.admin {
		return []*user{p.admin}
	}
	return []*user{s.owner, p.admin}
}

// tells checks what the API tells everybody who may see an instance.
func (p *play) tells(s server, want story) error {
	for _, u := range p.seers(s) {
		if err := p.told(u, s, want); err != nil {
			return err
		}
	}
	return nil
}

// told checks what the API tells a user.
func (p *play) told(u *user, s server, want story) error {
	now, err := u.server(s.ID)
	if err != nil {
		return err
	}
	p.faulted(u, now, want)
	actions, err := u.actions(s.ID)
	if err != nil {
		return err
	}
	p.acted(u, now, actions[0], want)
	return nil
}

// faulted checks the fault that a user sees.
func (p *play) faulted(u *user, s server, want story) {
	if want.fault == nil || s.Fault == nil {
		p.That(want.fault == nil && s.Fault == nil, u.name+" sees no fault of "+s.Name, s, want.fault)
		return
	}
	p.That(s.Fault.Code == 500 && want.fault.MatchString(s.Fault.Message), fmt.Sprintf("%s sees the fault of %s: %d %q", u.name, s.Name, s.Fault.Code, s.Fault.Message), want.fault)
	if u == p.admin {
		p.That(want.details.MatchString(s.Fault.Details), "and its details", s.Fault.Details)
	} else {
		p.That(s.Fault.Details == "", "and no details", s.Fault.Details)
	}
}

// acted checks the last action that a user sees.
func (p *play) acted(u *user, s server, last action, want story) {
	failed, message, says := "", "", "nothing failed"
	for _, e := range last.Events {
		p.Quietly(e.Result == "Success" || e.Result == "Error", "an event is one or the other", e)
		if e.Result != "Error" {
			continue
		}
		failed, says = e.Event, fmt.Sprintf("%s failed, details %s, traceback %s", e.Event, lastLine(e.Details), lastLine(e.Traceback))
		if u == p.admin {
			p.Quietly(e.Traceback != nil && e.Details != nil && want.why != nil && want.why.MatchString(*e.Details), "an admin sees why", e)
		} else {
			p.Quietly(e.Traceback == nil && e.Details == nil, "others do not see why", e)
		}
	}
	if last.Message != nil {
		message = *last.Message
	}
	p.That(len(last.Events) > 0 && failed == want.event && (message == "Error") == (failed != "") && (message == "") == (failed == ""),
		fmt.Sprintf("%s sees of the action %s of %s: %s", u.name, last.Action, s.Name, says), last)
}

// lastLine is that of a text that may be absent.
func lastLine(s *string) string {
	if s == nil {
		return "none"
	}
	lines := strings.Split(strings.TrimSpace(*s), "\n")
	return fmt.Sprintf("%q", lines[len(lines)-1])
}

// shows checks that the command openstack shows what the API tells.
func (p *play) shows(s server) error {
	users := p.seers(s)
	errs := make([]error, len(users))
	texts := make([]string, len(users))
	var all sync.WaitGroup
	for n, u := range users {
		all.Go(func() { texts[n], errs[n] = p.openstack(u.name, "server", "show", s.ID, "-f", "json") })
	}
	all.Wait()
	for n, u := range users {
		seen, err := u.server(s.ID)
		if err := errors.Join(errs[n], err); err != nil {
			return err
		}
		var shown struct {
			Status string
			Fault  *fault
		}
		if err := json.Unmarshal([]byte(texts[n]), &shown); err != nil {
			return fmt.Errorf("openstack server show: %w: %s", err, texts[n])
		}
		p.That(shown.Status == seen.Status && shown.Fault != nil && seen.Fault != nil && *shown.Fault == *seen.Fault, "openstack server show says the same to "+u.name, texts[n])
	}
	return nil
}
