package hooktest

import (
	"net"
	"path/filepath"
	"testing"
)

// Listen makes a socket where a daemon listens, which serves those who connect one after the other.
func Listen(t testing.TB, serve func(net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "db.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	return socket
}
