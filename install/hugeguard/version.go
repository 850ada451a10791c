package main

import (
	"runtime/debug"
)

// built is the released version, set by the build.
var built string

func version() string {
	if built != "" {
		return built
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
