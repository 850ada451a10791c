//go:build race

package guard

func init() { raceDetector = true }
