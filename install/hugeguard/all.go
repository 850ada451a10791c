package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"hugeguard/guard"
	"hugeguard/guard/domain"
	"hugeguard/guard/fix"
	"hugeguard/guard/words"
	"hugeguard/hook/survey"
	"hugeguard/install/domains"
)

// An answer is what check --all prints about one domain.
type answer struct {
	words.Report
	// Autostart reports whether libvirt starts the domain by itself.
	Autostart bool `json:"autostart"`
	// InOrder is what becomes of it after the domains with autostart before it; nil without autostart or huge pages.
	InOrder *inOrder `json:"in_order,omitempty"`
}

// An inOrder is what becomes of a domain that starts after others.
type inOrder struct {
	Position int            `json:"position"` // from 1, among those with autostart and huge pages
	Decision guard.Decision `json:"decision"`
	Cause    guard.Cause    `json:"cause"` // of a refusal, else ""; starting-guests if those before it take the pages
	Summary  string         `json:"summary"`
}

// A crowd judges many domains on one host, which is surveyed once for all of them.
type crowd struct {
	*checker
	seen    *guard.Host      // with the pools of all sizes; nil until a domain asks for huge pages
	started []guard.Starting // those with autostart that fitted, in order
	order   int              // how many had autostart and huge pages
	late    []answer         // those that are left without pages in order
	refused error            // errRefused once a domain is refused
}

// all judges every domain that does not run, even if some cannot be judged.
func (c *checker) all() error {
	known := domains.Open(c.host)
	defer known.Close()
	off, err := known.Off()
	if err != nil {
		return err
	}
	if len(off) == 0 {
		c.note("every defined domain runs")
	}
	all := crowd{checker: c}
	var failed error
	for _, l := range off {
		a, err := all.ask(known, l)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if err := c.printAnswer(l.Name, a); err != nil {
			return err
		}
		all.count(a)
	}
	if all.order > 0 && !c.json {
		if err := c.printOrder(all.order, all.late); err != nil {
			return err
		}
	}
	return cmp.Or(failed, all.refused)
}

// ask judges a domain by name.
func (c *crowd) ask(known domains.Known, l domains.Listed) (answer, error) {
	d, err := known.Get(l.Name)
	if err != nil {
		return answer{}, err
	}
	demand, err := domain.Parse(d.XML)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", d.From, err)
	}
	demand.Exempt = c.config.Exempts(demand)
	a, err := c.judge(demand, l.Autostart)
	if err != nil {
		return answer{}, fmt.Errorf("domain %s: %w", l.Name, err)
	}
	return a, nil
}

// count adds an answer to what becomes of all domains.
func (c *crowd) count(a answer) {
	late := a.InOrder != nil && a.InOrder.Decision == guard.Refuse
	if late {
		c.late = append(c.late, a)
	}
	if a.RefusedBy != "" || late && a.Exempt == "" {
		c.refused = errRefused
	}
}

// printAnswer prints what becomes of a domain alone.
func (c *checker) printAnswer(name string, a answer) error {
	if c.json {
		return printJSON(c.out, a)
	}
	_, err := fmt.Fprintf(c.out, "%s: %s%s: %s\n", guard.Printable(name, 200), a.Decision, exempt(a), a.Summary)
	return err
}

// exempt returns the words for a domain that is exempt.
func exempt(a answer) string {
	if a.Exempt != "" {
		return " (exempt)"
	}
	return ""
}

// printOrder prints which domains with autostart are left without pages.
func (c *checker) printOrder(all int, late []answer) error {
	if len(late) == 0 {
		_, err := fmt.Fprintf(c.out, "autostart: one after the other, by name, all %d with huge pages would start\n", all)
		return err
	}
	if _, err := fmt.Fprintf(c.out, "autostart: one after the other, by name (libvirt's order is random), %d of %d with huge pages would get none:\n", len(late), all); err != nil {
		return err
	}
	for _, a := range late {
		if _, err := fmt.Fprintf(c.out, "  %d. %s%s: %s\n", a.InOrder.Position, guard.Printable(a.Domain.Name, 200), exempt(a), a.InOrder.Summary); err != nil {
			return err
		}
	}
	return nil
}

// judge judges a domain alone and, if it has autostart, after those before it. Without huge pages neither needs the
// host.
func (c *crowd) judge(demand guard.Demand, autostart bool) (answer, error) {
	a := answer{Autostart: autostart}
	if demand.AsksNothing() {
		a.Report = words.NewReport(fix.Judge(demand, guard.Host{})) // without a survey, as the hook
		return a, nil
	}
	if c.seen == nil {
		seen, err := c.survey(survey.All)
		if err != nil {
			return a, err
		}
		c.seen = &seen
	}
	host, err := survey.Counters(c.host, survey.For(demand))
	if err != nil {
		return a, err
	}
	sizes := demand.PageSizes(host)
	host.Nodes, host.Holders, host.OVS, host.Nova = c.seen.Nodes, c.seen.Holders, c.seen.OVS, c.seen.Nova
	survey.CopyDaemon(&host, *c.seen)
	host.Pools = slices.DeleteFunc(slices.Clone(c.seen.Pools), func(p guard.SizePool) bool { return !slices.Contains(sizes, p.PageKiB) })
	host.Starting = slices.DeleteFunc(slices.Clone(c.seen.Starting), func(s guard.Starting) bool {
		return s.Domain.Name == demand.Domain.Name || s.Domain.UUID == demand.Domain.UUID
	})
	a.Report = words.NewReport(c.unlessHooks(fix.Judge(demand, host)))
	if !autostart {
		return a, nil
	}
	c.order++
	host.Starting = append(host.Starting, c.started...)
	then := c.unlessHooks(fix.Judge(demand, host))
	a.InOrder = &inOrder{Position: c.order, Decision: then.Decision, Cause: then.Cause, Summary: words.Summary(then)}
	if then.Decision != guard.Refuse || then.Exempt != "" {
		c.started = append(c.started, then.AsStarting())
	}
	if then.Cause == guard.CauseStartingGuests {
		a.InOrder.Summary = words.Finding(then.Findings[0]) // the rest advises to try again, which is no use here
	}
	return a, nil
}
