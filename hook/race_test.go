//go:build race

package hook

func init() { raceDetector = true }
