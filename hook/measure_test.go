package hook

import (
	"io"
	"os"

	"hugeguard/hook/hooktest"
	"hugeguard/sysfs"
)

const rootEnv = "HUGEGUARD_MEASURE_ROOT"

// judgeAt judges the launch of the incident on the host below a root, as the
// program does, and leaves there what it has to say.
func judgeAt(root string) (status int, err error) {
	xml, err := os.Open(hooktest.Data("hosts/plain/prepare.xml"))
	if err != nil {
		return 0, err
	}
	defer xml.Close()
	limitMemory()
	c := call{args: []string{"qemu", "x"}, stdin: xml, stderr: io.Discard, fs: sysfs.New(root), privileged: true,
		journal: func(e entry) error { return os.WriteFile(root+"/entry", []byte(e.Message), 0o600) }}
	return c.prepare(), nil
}
