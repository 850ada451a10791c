// Command empty does nothing: what it costs to run a Go program at all.
package main

func main() {}
