package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"hugeguard/testdata/vm"
)

// computeVersion is the microversion of Nova's API.
const computeVersion = "2.92"

// Where the services listen.
const (
	identityURL = "http://" + controllerAddress + ":5000/v3"
	computeURL  = "http://" + controllerAddress + ":8774/v2.1"
	imageURL    = "http://" + controllerAddress + ":9292/v2"
)

// A user is somebody who uses the API, in a project of the same name.
type user struct {
	name  string
	token string
}

// login gets a token.
func login(name string) (*user, error) {
	domain := map[string]string{"name": "Default"}
	body := map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"},
			"password": map[string]any{"user": map[string]any{"name": name, "password": "secret", "domain": domain}}},
		"scope": map[string]any{"project": map[string]any{"name": name, "domain": domain}},
	}}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.Post(identityURL+"/auth/tokens", "application/json", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusCreated {
		why, err := io.ReadAll(r.Body)
		return nil, errors.Join(fmt.Errorf("%s for %s's token: %s", r.Status, name, why), err)
	}
	return &user{name, r.Header.Get("X-Subject-Token")}, nil
}

// An apiError is an answer of the API that is an error.
type apiError struct {
	status int
	text   string
}

func (e apiError) Error() string { return e.text }

// do asks for something, and reads the answer if one is wanted.
func (u *user) do(method, url string, body, answer any) error {
	var send io.Reader
	kind := "application/json"
	switch body := body.(type) {
	case nil:
	case []byte:
		send, kind = bytes.NewReader(body), "application/octet-stream"
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	request, err := http.NewRequest(method, url, send)
	if err != nil {
		return err
	}
	request.Header.Set("X-Auth-Token", u.token)
	request.Header.Set("Content-Type", kind)
	request.Header.Set("OpenStack-API-Version", "compute "+computeVersion)
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode >= http.StatusMultipleChoices {
		return apiError{r.StatusCode, fmt.Sprintf("%s %s as %s: %s: %s", method, url, u.name, r.Status, text)}
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// id is what most answers have.
type id struct{ ID string }

// find returns the identity of the one that a list has by that name.
func (u *user) find(url, list, name string) (string, error) {
	var all map[string]json.RawMessage
	if err := u.do("GET", url, nil, &all); err != nil {
		return "", err
	}
	var found []struct{ ID, Name string }
	if err := json.Unmarshal(all[list], &found); err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	for _, f := range found {
		if f.Name == name {
			return f.ID, nil
		}
	}
	return "", fmt.Errorf("%s: nothing is named %s", url, name)
}

// introduce makes users and endpoints.
func (c *control) introduce() error {
	admin, err := login("admin")
	if err != nil {
		return err
	}
	roles := map[string]string{}
	for _, name := range []string{"admin", "member"} {
		if roles[name], err = admin.find(identityURL+"/roles", "roles", name); err != nil {
			return err
		}
	}
	for name, service := range map[string]struct{ kind, url string }{"nova": {"compute", ":8774/v2.1"}, "placement": {"placement", ":8778"},
		"glance": {"image", ":9292"}, "neutron": {"network", ":9696"}} {
		if err := admin.person(name, "service", roles["admin"]); err != nil {
			return err
		}
		var made struct{ Service id }
		if err := admin.do("POST", identityURL+"/services", map[string]any{"service": map[string]string{"name": name, "type": service.kind}}, &made); err != nil {
			return err
		}
		for _, face := range []string{"public", "internal", "admin"} {
			endpoint := map[string]string{"service_id": made.Service.ID, "interface": face, "url": "http://controller" + service.url, "region_id": "RegionOne"}
			if err := admin.do("POST", identityURL+"/endpoints", map[string]any{"endpoint": endpoint}, nil); err != nil {
				return err
			}
		}
	}
	// Somebody who may do nothing but use instances.
	return admin.person("demo", "demo", roles["member"])
}

// furnish makes flavors and an image.
func (c *control) furnish() error {
	admin, err := login("admin")
	if err != nil {
		return err
	}
	for name, mib := range flavors {
		var made struct{ Flavor id }
		body := map[string]any{"name": name, "ram": mib, "vcpus": 1, "disk": 1}
		if err := admin.do("POST", computeURL+"/flavors", map[string]any{"flavor": body}, &made); err != nil {
			return err
		}
		if err := admin.do("POST", computeURL+"/flavors/"+made.Flavor.ID+"/os-extra_specs", map[string]any{"extra_specs": map[string]string{"hw:cpu_policy": "dedicated", "hw:mem_page_size": "large"}}, nil); err != nil {
			return err
		}
	}
	var image id
	if err := admin.do("POST", imageURL+"/images", map[string]string{"name": "empty", "visibility": "public", "disk_format": "raw", "container_format": "bare"}, &image); err != nil {
		return err
	}
	return admin.do("PUT", imageURL+"/images/"+image.ID+"/file", disk(), nil)
}

// disk is one from which a guest boots and halts its CPU. Without that the firmware would try again for ever, and an
// emulated CPU that never rests slows all others down.
func disk() []byte {
	disk := make([]byte, 1<<20)
	copy(disk, []byte{0xfa, 0xf4, 0xeb, 0xfd}) // cli; hlt; jmp to the hlt
	disk[446+4] = 0x83                         // it has a partition, without which Nova takes it for no disk
	copy(disk[510:], []byte{0x55, 0xaa})       // it is a boot sector
	return disk
}

// flavors by name. Each gets a CPU of its own and all memory from that node, in huge pages.
var flavors = map[string]int{
	"dpdk": 512,
	"mini": 64,
	"more": 128,
}

// person makes a user with a role in a project, which is made if there is none.
func (u *user) person(name, project, role string) error {
	where, err := u.find(identityURL+"/projects", "projects", project)
	if err != nil {
		var made struct{ Project id }
		if err := u.do("POST", identityURL+"/projects", map[string]any{"project": map[string]string{"name": project, "domain_id": "default"}}, &made); err != nil {
			return err
		}
		where = made.Project.ID
	}
	var made struct{ User id }
	body := map[string]string{"name": name, "password": "secret", "domain_id": "default", "default_project_id": where}
	if err := u.do("POST", identityURL+"/users", map[string]any{"user": body}, &made); err != nil {
		return err
	}
	return u.do("PUT", fmt.Sprintf("%s/projects/%s/users/%s/roles/%s", identityURL, where, made.User.ID, role), nil, nil)
}

// A server is an instance as the API shows it.
type server struct {
	ID     string
	Name   string
	Status string
	Task   *string `json:"OS-EXT-STS:task_state"`
	Power  int     `json:"OS-EXT-STS:power_state"`
	Host   string  `json:"OS-EXT-SRV-ATTR:host"`          // for admins
	Domain string  `json:"OS-EXT-SRV-ATTR:instance_name"` // for admins
	Fault  *fault
	owner  *user // who booted it
}

// A fault is what the API says of why something failed; only admins get the details.
type fault struct {
	Code    int
	Message string
	Details string
}

func (s server) String() string {
	task, why := "none", ""
	if s.Task != nil {
		task = *s.Task
	}
	if s.Fault != nil {
		why = fmt.Sprintf(", fault %d %q", s.Fault.Code, s.Fault.Message)
	}
	return fmt.Sprintf("%s (%s, %s): %s, task %s, host %q%s", s.Name, s.ID, s.Domain, s.Status, task, s.Host, why)
}

// server shows an instance.
func (u *user) server(id string) (server, error) {
	var answer struct{ Server server }
	err := u.do("GET", computeURL+"/servers/"+id, nil, &answer)
	return answer.Server, err
}

// An action is what was done to an instance, with its events.
type action struct {
	Action  string
	Message *string
	Events  []event
}

type event struct {
	Event, Result string
	Details       *string
	Traceback     *string
	Host          string
}

// actions are those of an instance, the latest first.
func (u *user) actions(id string) ([]action, error) {
	url := computeURL + "/servers/" + id + "/os-instance-actions"
	var list struct {
		InstanceActions []struct {
			RequestID string `json:"request_id"`
		}
	}
	if err := u.do("GET", url, nil, &list); err != nil {
		return nil, err
	}
	var all []action
	for _, a := range list.InstanceActions {
		var one struct{ InstanceAction action }
		if err := u.do("GET", url+"/"+a.RequestID, nil, &one); err != nil {
			return nil, err
		}
		all = append(all, one.InstanceAction)
	}
	return all, nil
}

// boot asks for an instance; host is where it has to go, "" for where Nova wants it, which only admins may choose.
func (u *user) boot(name, flavor, host string) (string, error) {
	ref, err := u.find(computeURL+"/flavors", "flavors", flavor)
	if err != nil {
		return "", err
	}
	image, err := u.find(imageURL+"/images", "images", "empty")
	if err != nil {
		return "", err
	}
	body := map[string]any{"name": name, "flavorRef": ref, "imageRef": image, "networks": "none"}
	if host != "" {
		body["availability_zone"] = "nova:" + host
	}
	var made struct{ Server id }
	err = u.do("POST", computeURL+"/servers", map[string]any{"server": body}, &made)
	return made.Server.ID, err
}

// act has something done to an instance.
func (u *user) act(id, what string, how any) error {
	return u.do("POST", computeURL+"/servers/"+id+"/action", map[string]any{what: how}, nil)
}

// settled waits until nothing is being done to an instance, and it has one of the states or failed; no states are any.
func (c *control) settled(u *user, id string, states ...string) (s server, err error) {
	last := ""
	err = c.until("the end of what is done to "+id, func() (bool, error) {
		var err error
		if s, err = u.server(id); err != nil {
			return false, err
		}
		if now := s.String(); now != last {
			vm.Say("        %s", now)
			last = now
		}
		return s.Task == nil && s.Status != "BUILD" && (states == nil || s.Status == "ERROR" || slices.Contains(states, s.Status)), nil
	})
	return s, err
}

// remove deletes an instance and waits until it is gone.
func (c *control) remove(u *user, id string) error {
	if err := u.do("DELETE", computeURL+"/servers/"+id, nil, nil); err != nil {
		return err
	}
	return c.until("the deletion of "+id, func() (bool, error) {
		_, err := u.server(id)
		var answer apiError
		return errors.As(err, &answer) && answer.status == http.StatusNotFound, nil
	})
}
