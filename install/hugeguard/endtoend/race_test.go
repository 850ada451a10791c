//go:build race

package endtoend

func init() { raceDetector = true }
