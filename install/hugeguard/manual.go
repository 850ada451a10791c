//go:build manual

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"hugeguard/install/manual"
)

// With the tag manual this program is not the command, but writes its manual pages, completions and default
// configuration into a directory. The date on the pages is SOURCE_DATE_EPOCH.
func main() {
	if err := writeManual(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

func writeManual(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("name one directory, not %q", args)
	}
	release := manual.Release{Version: version(), Date: time.Now()}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		release.Date = time.Unix(seconds, 0)
	}
	in := func(name string) string { return filepath.Join(args[0], name) }
	for name, text := range map[string]string{
		"hugeguard.8":      manual.CommandPage(newRoot(), release),
		"hugeguard.conf.5": manual.ConfigurationPage(release),
		"hugeguard.conf":   manual.Configuration(),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	root := newRoot()
	if err := root.GenBashCompletionFileV2(in("hugeguard.bash"), true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(in("_hugeguard")); err != nil {
		return err
	}
	return root.GenFishCompletionFile(in("hugeguard.fish"), true)
}
