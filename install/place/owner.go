package place

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// ownerPatience is how long a package manager may take to say whose a file is.
const ownerPatience = 10 * time.Second

// Owner returns the name of the package that a file belongs to; "" if it belongs to none, or nothing knows. It asks dpkg
// and rpm, and so takes longer than the rest of a status.
func Owner(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, ownerPatience)
	defer cancel()
	for _, ask := range [][]string{
		{"dpkg-query", "--search", path},                   // hugeguard: /usr/lib/hugeguard/qemu
		{"rpm", "--query", "--qf", "%{NAME}:", "-f", path}, // hugeguard:
	} {
		out, err := exec.CommandContext(ctx, ask[0], ask[1:]...).Output()
		if name, _, ok := strings.Cut(string(out), ":"); err == nil && ok {
			return name
		}
	}
	return ""
}
