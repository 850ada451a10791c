package words

import (
	"fmt"
	"strings"

	"hugeguard/guard"
	"hugeguard/guard/fix"
)

// enableHooks says how libvirt comes to run hooks of the site's.
func enableHooks(e fix.EnableHooks) Fix {
	var shown, words []string
	for _, h := range e.Hooks {
		if word := ShellWord(h.Path); word != "" {
			shown, words = append(shown, path(h.Path)), append(words, word)
		}
	}
	if words == nil {
		return Fix{}
	}
	f := onHost(fmt.Sprintf("make %s executable: libvirt skips it, and it has to do with huge pages, so it may be what makes them", enumerate(shown, 3)),
		"chmod +x "+strings.Join(words, " "))
	f.Cost = "it runs at each start of a guest from then on: read it first"
	f.Lasting = []string{"nothing to do: the file stays executable"}
	return f
}

// idle says that libvirt does not run a hook.
func idle(h guard.IdleHook) string {
	note := fmt.Sprintf("libvirt skips the hook %s: it is not executable", path(h.Path))
	if h.Foreign {
		note += ", and users other than root may be able to change it"
	}
	return note
}
