package hook

import (
	"fmt"
	"os"
	"testing"

	"hugeguard/hook/hooktest"
)

// raceDetector is whether these tests are built with the race detector.
var raceDetector bool

// TestMain is the children, too, that these tests start.
func TestMain(m *testing.M) {
	if os.Args[0] == childName {
		os.Exit(testChild(os.Args)) // what a call of these tests has started
	}
	if os.Getenv(denyEnv) != "" {
		if err := denyMemfd(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitAccept)
		}
	}
	if root := os.Getenv(rootEnv); root != "" {
		status, err := judgeAt(root)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(status)
	}
	os.Exit(hooktest.Main(m))
}
