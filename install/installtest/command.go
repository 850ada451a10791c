package installtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// WithCommand runs tests with the command first in PATH, as it is installed: without their race detector. They get a
// directory that goes with them. It returns the status that run returns.
func WithCommand(run func(dir string) int) int {
	dir, err := os.MkdirTemp("", "hugeguard-command-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(bin, "hugeguard"), "hugeguard/install/hugeguard")
	if text, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, text))
	}
	if err := os.Setenv("PATH", bin+":"+os.Getenv("PATH")); err != nil {
		panic(err)
	}
	return run(dir)
}
