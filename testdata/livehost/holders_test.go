package livehost

func runHolder() int { return 0 }
