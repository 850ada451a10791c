package nova

import (
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, texts ...string) Config {
	t.Helper()
	var c Config
	for _, text := range texts {
		if err := c.Add("nova.conf", text); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestReserved(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string
		want  Reserved
	}{
		{"none", []string{"[DEFAULT]\n"}, Reserved{}},
		{"lines and files add up", []string{
			"[DEFAULT]\nreserved_huge_pages = node:0,size:2048,count:64\nreserved_huge_pages: node:1,size:1GB,count:1\n",
			"[DEFAULT]\nreserved_huge_pages=count:5 , node:0, size: 1048576 , why:not\n",
		}, Reserved{{0, 2048}: 64, {1, 1 << 20}: 1, {0, 1 << 20}: 5}},
		{"the last one counts", []string{
			"[DEFAULT]\nreserved_huge_pages=node:0,size:2MB,count:64\n[other]\n[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:7\n",
		}, Reserved{{0, 2048}: 7}},
		{"continued, quoted", []string{
			"[DEFAULT]\nreserved_huge_pages = 'node:0'\n\t,size:16Mib\n  , count:+1_000\n\n",
		}, Reserved{{0, 2048}: 1000}},
		{"other sections, other names, comments", []string{
			"[default]\nreserved_huge_pages=node:0,size:2048,count:1\n[ DEFAULT ]\nreserved_huge_pages=node:0,size:2048,count:2\n" +
				"[DEFAULT]\n#reserved_huge_pages=node:0,size:2048,count:3\n;reserved_huge_pages=x\nReserved_huge_pages=x\nreserved-huge-pages=x\n",
		}, Reserved{}},
		{"what no host has", []string{
			"[DEFAULT]\nreserved_huge_pages=node:-1,size:2048,count:1\nreserved_huge_pages=node:0,size:1500B,count:1\nreserved_huge_pages=node:1,size:2048,count:-3\n",
		}, Reserved{{1, 2048}: -3}},
		{"line ends", []string{"[DEFAULT]\r\nreserved_huge_pages=node:0,size:2048,count:1\r\n\rkey=value\r"}, Reserved{{0, 2048}: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := read(t, test.files...).Reserved()
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
		})
	}
}

func TestReservedErrors(t *testing.T) {
	for value, want := range map[string]string{
		"":                            "there is no size in it",
		"node:0,size:2048":            "there is no count in it",
		"node:0,size:2M,count:1":      `size: neither a number of KiB nor one with a unit such as MB`,
		"node:0,size:2048,count:1.0":  "count: not a number",
		"node:zero,size:2048,count:1": "node: not a number",
		"node:0,size:2048,count:9223372036854775808": "count: too large a number",
		"node:0,size:2048,count:1,":                  "it is not made of key:value pairs",
		"node:0,node:1,size:2048,count:1":            "a key is there twice",
		":0,size:2048,count:1":                       "a key is empty",
		"node:0,size:2048,count:${my_secret}":        "it refers to another option, which is not looked up",
		"node:0,size:2048,count:$db.connection":      "it refers to another option, which is not looked up",
	} {
		_, err := read(t, "[DEFAULT]\nreserved_huge_pages = "+value).Reserved()
		if err == nil || !strings.HasSuffix(err.Error(), ": "+want) || !strings.HasPrefix(err.Error(), "nova.conf: line 2: ") {
			t.Errorf("%q: %v", value, err)
		}
	}
	if _, err := read(t, "[DEFAULT]\nreserved_huge_pages=count:$x").Reserved(); !errors.As(err, new(ReferenceError)) {
		t.Error(err)
	}
}

// TestSecrets: whatever is wrong with a file, no error and no result shows what belongs to other options.
func TestSecrets(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		"[DEFAULT]\ntransport_url=rabbit://nova:hunter2@host\n hunter2\n[hunter2\n",
		"[DEFAULT]\npassword hunter2\n",
		"password = hunter2\n",
		"[DEFAULT]\n= hunter2\n",
		"[DEFAULT]\n\n  hunter2\n",
		"[DEFAULT]\nreserved_huge_pages=node:0\n#\n hunter2\n",
	} {
		var c Config
		err := c.Add("nova.conf", text)
		syntax := new(SyntaxError)
		if !errors.As(err, &syntax) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", text, err)
		}
		if len(c.Values) > 0 {
			t.Errorf("%q: %v is kept", text, c.Values)
		}
	}
	// Indented by mistake, it is the value's.
	for _, text := range []string{"64\n password=hunter2", "\n hunter2", "64,\n hunter2:0,hunter2:0", "64,\n hunter2", "$x\n hunter2"} {
		_, err := read(t, "[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:"+text+"\n").Reserved()
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", text, err)
		}
	}
	c := read(t, "[DEFAULT]\npassword=hunter2\n and more hunter2\nreserved_huge_pages=node:0,size:2048,count:1\npassword: hunter2\n hunter2\n")
	if want := []Value{{"node:0,size:2048,count:1", "nova.conf", 4}}; !reflect.DeepEqual(c.Values, want) {
		t.Errorf("%+v", c.Values)
	}
}

// TestInstances: where instances have their directories.
func TestInstances(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "/var/lib/nova/instances",
		"state_path=/srv/nova":   "/srv/nova/instances",
		"instances_path=/srv/i/": "/srv/i",
		"instances_path='${state_path}/i'\nstate_path=/a": "/a/i",
		"instances_path=/srv\n[other]\ninstances_path=/b": "/srv",
		"instances_path=$pybasedir/i":                     "",
		"instances_path=i":                                "",
		"instances_path=/a\n b":                           "",
	} {
		dir, ok := read(t, "[DEFAULT]\n"+text+"\n").Instances()
		if ok != (want != "") || ok && dir != want {
			t.Errorf("%q: %q, %t, want %q", text, dir, ok, want)
		}
	}
}

func TestSources(t *testing.T) {
	paths := func(sources []Source) string {
		var all []string
		for _, s := range sources {
			path := filepath.Base(s.Path[0])
			if s.Dir {
				path += "/"
			}
			if s.Named {
				path += "!"
			}
			all = append(all, path)
		}
		return strings.Join(all, " ")
	}
	for arguments, want := range map[string]string{
		"": "nova-dist.conf nova.conf nova-compute.conf nova.conf.d/ nova-compute.conf.d/",
		"--config-file=/etc/nova/nova.conf --config-file /etc/nova/nova-compute.conf --log-file=/x": "nova.conf.d/ nova-compute.conf.d/ nova.conf! nova-compute.conf!",
		"--config-dir /etc/nova/a.d --debug":                 "nova-dist.conf nova.conf nova-compute.conf a.d/!",
		"--config-dir=/a.d --config-file=/b --config-dir /c": "a.d/! b! c/!",
		"--config-file": "nova-dist.conf nova.conf nova-compute.conf nova.conf.d/ nova-compute.conf.d/",
	} {
		if got := paths(Sources(strings.Fields(arguments))); got != want {
			t.Errorf("%s: %s, want %s", arguments, got, want)
		}
	}
}

// FuzzConfig: no file is a panic, and nothing comes out of it but our option's values.
func FuzzConfig(f *testing.F) {
	f.Add("[DEFAULT]\nreserved_huge_pages = 'node:0'\n ,size:1GB,count:$x\npassword=hunter2\n")
	f.Add("[a]\n[DEFAULT]\nreserved_huge_pages:node:0,size:.5GiB,count:1_0\r\n")
	f.Add(string([]byte{0xff, '[', 0, '=', 0x85}))
	f.Fuzz(func(t *testing.T, text string) {
		var c Config
		if err := c.Add("nova.conf", text); err != nil && len(c.Values) > 0 {
			t.Error("values of a broken file")
		}
		for _, v := range c.Values {
			if v.Line < 1 || !strings.Contains(strings.Split(newlines.Replace(text), "\n")[v.Line-1], option) {
				t.Errorf("%+v is not of line %d", v, v.Line)
			}
		}
		reserved, err := c.Reserved()
		if err != nil && reserved != nil {
			t.Error("both a result and an error")
		}
		for pool := range reserved {
			if pool.Node < 0 || pool.PageKiB == 0 {
				t.Errorf("%+v", pool)
			}
		}
	})
}

// FuzzReduce: what is left of a file says the same of the option, and nothing of any other.
func FuzzReduce(f *testing.F) {
	seeds := []string{
		"[DEFAULT]\nreserved_huge_pages = 'node:0'\n ,size:1GB,count:$x\npassword=hunter2\n",
		"[DEFAULT]\npassword=hunter2\nreserved_huge_pages = node:0\n ,size:1GB,count:3, hunter2:hunter2\nreserved_huge_pages=x\n",
		"[DEFAULT]\nreserved_huge_pages=node:0,size:2048,count:64\n password=hunter2\n\n\nreserved_huge_pages=node:1,size:2048,count:64,why:\n hunter2,\n",
		"[DEFAULT]\nreserved_huge_pages=node:-1,size:2048,count:64\n\t,hunter2:x\nreserved_huge_pages=\"\nreserved_huge_pages='\"a\"'",
		"[DEFAULT]\ntransport_url=rabbit://nova:hunter2@host\n hunter2\n[hunter2\n", "[DEFAULT]\npassword hunter2\n", "password = hunter2\n",
		"[DEFAULT]\n= hunter2\n", "[DEFAULT]\n\n  hunter2\n", "[hunter2]\n[]", "",
		"[DEFAULT]\nstate_path=/srv\npassword=hunter2\ninstances_path = '$state_path/i'\n", "[DEFAULT]\ninstances_path=/a\n hunter2\nstate_path=hunter2 :\n",
		"[DEFAULT]\nreserved_huge_pages=x\ninstances_path=/a\n[x]\nstate_path=/b\n",
	}
	for _, text := range seeds {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		left := Reduce(text)
		for i, line := range strings.Split(left, "\n") {
			value, ok := strings.CutPrefix(line, option+`="`)
			switch {
			case strings.HasPrefix(line, instancesOption+"=") || strings.HasPrefix(line, stateOption+"="):
				if _, path, _ := strings.Cut(line, "="); path != odd && plain(path) != path {
					t.Errorf("%q: line %d becomes %q", text, i+1, line)
				}
			case line == "" || line == "["+section+"]" || line == "\t," || slices.Contains(samples, line):
			case !ok:
				t.Errorf("%q: line %d becomes %q", text, i+1, line)
			case strings.HasPrefix(value, "node:"): // perhaps written again
			case !strings.Contains(strings.Split(newlines.Replace(text), "\n")[i], strings.TrimSuffix(value, `"`)):
				t.Errorf("%q: the value in line %d becomes %q", text, i+1, value)
			}
		}
		if slices.Contains(seeds, text) && strings.Contains(left, "hunter2") {
			t.Errorf("%q becomes %q", text, left)
		}
		var was, is Config
		errWas, errIs := was.Add("nova.conf", text), is.Add("nova.conf", left)
		if !reflect.DeepEqual(errWas, errIs) || len(was.Values) != len(is.Values) {
			t.Fatalf("%q: %v, %d values; reduced to %q: %v, %d", text, errWas, len(was.Values), left, errIs, len(is.Values))
		}
		for i := range was.Values {
			if was.Values[i].Line != is.Values[i].Line {
				t.Errorf("%q: line %d is reduced to line %d", text, was.Values[i].Line, is.Values[i].Line)
			}
		}
		if was.paths != is.paths {
			t.Errorf("%q: %+v; reduced to %q: %+v", text, was.paths, left, is.paths)
		}
		reservedWas, errWas := was.Reserved()
		reservedIs, errIs := is.Reserved()
		if !reflect.DeepEqual(reservedWas, reservedIs) || (errWas == nil) != (errIs == nil) {
			t.Errorf("%q: %v, %v; reduced to %q: %v, %v", text, reservedWas, errWas, left, reservedIs, errIs)
		}
		if again := Reduce(left); again != left {
			t.Errorf("%q is reduced to %q, and again to %q", text, left, again)
		}
	})
}
