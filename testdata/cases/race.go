//go:build race

package cases

func init() { RaceDetector = true }
