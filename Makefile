# hugeguard: "make demo" shows it, "make test" proves it, "sudo make install" installs it.

GO      ?= go
PREFIX  ?= /usr
DESTDIR ?=
# The one place where systemd looks for catalogs of packages.
CATALOG  = /usr/lib/systemd/catalog/hugeguard.catalog
# Whose system it is installed on: debian or rpm. They keep the licence, the changelog and zsh's completions elsewhere.
FOR     ?= $(if $(wildcard /etc/debian_version),debian,rpm)
ZSH      = zsh/$(if $(filter debian,$(FOR)),vendor-completions,site-functions)
DOC      = $(PREFIX)/share/doc/hugeguard
LICENCES = $(if $(filter debian,$(FOR)),$(DOC),$(PREFIX)/share/licenses/hugeguard)
CHANGES  = $(DOC)/$(if $(filter debian,$(FOR)),changelog,CHANGELOG.md)
# What they call the policy of SELinux that hugeguard's module is for: SELINUXTYPE in /etc/selinux/config.
SELINUX  = $(if $(filter debian,$(FOR)),default,targeted)
# Where the programs are built.
BIN     ?= bin

# git tells root nothing about another user's checkout, and then Go would fail.
BUILD      = $(GO) build -trimpath -buildvcs=false
# With RELEASE=1 as packages have them: hardened, and with the version as the build ID. This tells versions of the hook
# apart: libvirt runs the hook, so it can have no --version. No two programs of a package have the same.
BUILDID    = $(if $(RELEASE),-buildid=$(VERSION))
RELRO      = -Wl,-z,relro,-z,now
HARDENED   = $(if $(RELEASE),-s -w -extldflags "$(RELRO)")
# libvirtd starts the hook for every operation, so it is a static program without symbols.
HOOK_BUILD = CGO_ENABLED=0 $(BUILD) -ldflags '-s -w $(BUILDID)'
# What hugeguard --version says.
VERSION ?= $(shell install/package/version.sh)
# The command loads libvirt at run time, if there is a C compiler to build it for that (cgo). It looks up no hosts, so it
# needs no resolver of the C library's.
TAGS       = $(if $(shell command -v $${CC:-cc} 2>/dev/null),-tags libvirt_dlopen$(comma)netgo)
comma = ,
# go test, which prints what it does. Its limits guard against a hang; they are not for slow machines.
PROGRESS   = $(GO) run ./testdata/progress

.PHONY: build manual stage stage-selinux packages dist module demo test prerequisites check update unit packagetest testdriver nova prometheus grafana livehost modular numabox numabox-fixes nova-box container-box selinux-box autopkgtest numabox-capture numabox-shell numabox-kernel bench fuzz seeds measures install uninstall clean

build:
	$(HOOK_BUILD) -o $(BIN)/qemu ./hook/qemu
	$(BUILD) $(TAGS) $(if $(RELEASE),-buildmode=pie) -ldflags '-X main.built=$(VERSION) $(addsuffix -command,$(BUILDID)) $(HARDENED)' -o $(BIN)/hugeguard ./install/hugeguard

# The manual pages, the completions and the default configuration, for the machine at hand.
manual:
	mkdir -p $(BIN)/manual
	GOOS= GOARCH= CGO_ENABLED=0 $(GO) run -tags manual -ldflags '-X main.built=$(VERSION)' ./install/hugeguard $(BIN)/manual

# A .deb and an .rpm for this machine's architecture, or for each of ARCH="amd64 arm64", in bin/packages. One commit and
# one C compiler always make the same bytes. Another architecture needs a C compiler for it.
packages:
	GO="$(GO)" VERSION="$(VERSION)" ARCHES="$(ARCH)" install/package/build.sh bin/packages

# The release of this commit, in bin/dist: a tarball from which distributions build without a network, and what is in it.
# One commit always makes the same bytes.
dist:
	GO="$(GO)" VERSION="$(VERSION)" install/package/dist.sh bin/dist

# Gives the module the path at which "go install" finds it, once it has a home: make module MODULE=example.org/team/hugeguard
module:
	GO="$(GO)" install/package/module.sh "$(MODULE)"

# The incident on a captured host. Needs only Go.
demo: build
	@testdata/demo.sh

# The tiers from check to numabox; fails if they leave a trace. Needs root, and installs missing Debian packages. The
# two-node machine keeps one CPU busy, and the other tiers run beside it.
test: prerequisites
	$(GO) run ./testdata/tests -beside numabox check unit packagetest testdriver nova prometheus livehost modular

prerequisites:
	testdata/prerequisites.sh

check:
	GO="$(GO)" testdata/check.sh

# Updates the libraries, and the programs that the build fetches, to their latest releases.
update:
	GO="$(GO)" testdata/tools/update.sh

# What make demo prints, and the fast tests: with the race detector, and as on a machine that has only Go.
unit: build
	testdata/demo.sh | diff -u testdata/golden/demo.txt -
	$(GO) test -race -count=1 -timeout 60m ./... ./testdata/tests ./testdata/progress ./testdata/measure ./testdata/vm ./testdata/numabox ./testdata/novabox ./testdata/selinuxbox
	CGO_ENABLED=0 $(GO) test -count=1 -timeout 60m ./...

# The packages: what is in them, that every build makes the same bytes, and what dpkg and rpm do with them on a system
# without libvirt. Needs root.
packagetest:
	$(GO) test -count=1 -timeout 60m ./testdata/package

testdriver:
	$(PROGRESS) -count=1 -timeout 2h -tags libvirt_dlopen ./testdata/testdriver/...

# Nova's own code, on the configuration that hugeguard reads, and on the fix.
nova:
	$(PROGRESS) -count=1 -timeout 2h ./testdata/nova/...

# Prometheus's own tools on the metrics, the alert rules and the dashboard, and systemd's on the timer.
prometheus:
	$(PROGRESS) -count=1 -timeout 2h ./testdata/prometheus/...

# The dashboard against Grafana's published schema. Needs npm.
grafana:
	testdata/grafana/check.sh

livehost:
	$(PROGRESS) -count=1 -timeout 2h ./testdata/livehost

# The live host with virtqemud in libvirtd's place, from a libvirt that it builds first: the tests that have to do with the
# daemon, or all with MODULAR=. Needs root.
MODULAR = StartsOnDemand|Verify|Status|RunningDaemon|InstallBeside|LibvirtRefuses|Daemon|Autostart|NothingIsLeftBehind|LiveMigration|CheckSays
modular:
	libvirt=$$(testdata/modular/build.sh) && HUGEGUARD_LIBVIRT=$$libvirt $(PROGRESS) -count=1 -timeout 2h -tags modular -run '$(MODULAR)' ./testdata/livehost

# The incident and the truth table on a two-node machine in a virtual machine; SUITE=trixie for Debian 13. Needs root.
numabox:
	$(PROGRESS) -count=1 ./testdata/numabox/...
	$(GO) run ./testdata/numabox

# Executes the fixes that take two nodes, systemd or a boot on that machine.
numabox-fixes:
	$(GO) run ./testdata/numabox -run fixes

# The incident through a real Nova's API: its control services run beside a two-node machine of its own. Needs root.
nova-box:
	$(GO) run ./testdata/novabox

# libvirt in a container, as kolla-ansible runs it. Needs root, and 128 MiB of huge pages.
container-box:
	testdata/containerbox/run.sh

# Both packages where SELinux is enforcing, on Debian 13 in a virtual machine. Needs root.
selinux-box:
	$(GO) run ./testdata/selinuxbox

# Debian's own test of the release's packages, in root file systems of Debian 13; SUITE=sid for the next one. Needs root.
autopkgtest:
	testdata/autopkgtest/run.sh

# Captures the launches on that machine that the fast tests judge again.
CAPTURED = incident|nova-(first-cell-short|two-cells-exact)|memnode-outside-memory.*|overlap-fits-in-sum|preferred-before-strict|restrictive-short \
	|dimm-nodemask-touch-short|odd-file-exact|giant-elsewhere|two-sizes-2m-short|reserved-one-too-many|takes-reserved-node|half-touched-short \
	|beside-(guest|file|sysv|anonymous)-short|pool-shrunk-short|overcommit-(bound|confined|used-up).*|slice-.*|mount-limit-.*|cgroup-.*|no-cpu.*-strict.*|pinned-.*
numabox-capture:
	for suite in bookworm trixie; do \
		$(GO) run ./testdata/numabox -suite $$suite -run '$(subst $() ,,$(CAPTURED))' -archive -export testdata/numabox/captured/$$suite || exit; \
	done
	$(GO) test ./hook/survey -run TestCaptured -update

# A shell on that machine.
numabox-shell:
	$(GO) run ./testdata/numabox -shell

# The verdict against a two-node kernel in a virtual machine, case by case, from a new seed each time.
CASES ?= 2500
numabox-kernel:
	$(GO) run ./testdata/numabox/kernel -cases $(CASES)

# Ratios against an empty Go program and the same check in bash and python3. Needs root, for a pool of huge pages.
bench:
	$(GO) run ./testdata/bench
	$(GO) run ./testdata/bench -growth
	$(GO) run ./testdata/bench -load 1m

# Every fuzz target for FUZZTIME.
FUZZTIME ?= 30s
fuzz:
	GO="$(GO)" testdata/fuzz.sh $(FUZZTIME)

# How much the seeds of the fuzz targets reach.
seeds:
	GO="$(GO)" testdata/seeds.sh 60

# How the product's packages are built, in numbers: lines, files that use each other, functions that are long or hard.
# For another checkout: make measures OF=../before.
OF ?= .
measures:
	@$(GO) run ./testdata/measure -C $(OF)

# The files of a package, and nothing else: what all packages have. Needs what build and manual make.
MANUAL = $(BIN)/manual
stage:
	install -D -m 0755 $(BIN)/hugeguard $(DESTDIR)$(PREFIX)/bin/hugeguard
	install -D -m 0755 $(BIN)/qemu $(DESTDIR)$(PREFIX)/lib/hugeguard/qemu
	install -D -m 0644 install/shipped/hugeguard.catalog $(DESTDIR)$(CATALOG)
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system install/shipped/systemd/*
	sed -i 's|=/usr/bin/|=$(PREFIX)/bin/|' $(DESTDIR)$(PREFIX)/lib/systemd/system/hugeguard-*.service
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/hugeguard install/shipped/prometheus/* install/shipped/grafana/*
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(MANUAL)/hugeguard.8
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/man/man5 $(MANUAL)/hugeguard.conf.5
	install -D -m 0644 $(MANUAL)/hugeguard.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hugeguard
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/$(ZSH) $(MANUAL)/_hugeguard
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d $(MANUAL)/hugeguard.fish
	install -D -m 0644 -t $(DESTDIR)$(DOC) install/doc/*.*
	install -D -m 0644 -t $(DESTDIR)$(DOC)/causes install/doc/causes/*
	# This has the licences of the libraries, too.
	install -D -m 0644 -t $(DESTDIR)$(LICENCES) install/package/debian/copyright $(if $(filter debian,$(FOR)),,LICENSE)
	install -D -m 0644 CHANGELOG.md $(DESTDIR)$(CHANGES)
	# To copy to /etc. Nothing asks about a file there that no package owns.
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/hugeguard $(MANUAL)/hugeguard.conf

# The files of the package of the SELinux policy.
stage-selinux:
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/selinux/packages/$(SELINUX) install/shipped/selinux/hugeguard.cil
	$(if $(filter debian,$(FOR)),,install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/licenses/hugeguard-selinux LICENSE)

# Below DESTDIR what a package owns. Without DESTDIR it also makes the hook live.
install: build manual
	$(MAKE) stage
	$(if $(DESTDIR),,-journalctl --update-catalog)
	$(if $(DESTDIR),,-systemctl daemon-reload)
	$(if $(DESTDIR),,$(BIN)/hugeguard install --hook $(BIN)/qemu)

uninstall: build
	$(if $(DESTDIR),,-systemctl disable --now hugeguard-metrics.timer hugeguard-reserve.timer)
	$(BIN)/hugeguard uninstall $(if $(DESTDIR),--root $(DESTDIR))
	rm -f $(DESTDIR)/var/lib/prometheus/node-exporter/hugeguard.prom
	rm -rf $(DESTDIR)$(PREFIX)/share/hugeguard $(DESTDIR)$(PREFIX)/lib/hugeguard $(DESTDIR)$(DOC) $(DESTDIR)$(PREFIX)/share/licenses/hugeguard
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/hugeguard-* $(DESTDIR)$(CATALOG)
	rm -f $(DESTDIR)$(PREFIX)/share/man/man8/hugeguard.8 $(DESTDIR)$(PREFIX)/share/man/man5/hugeguard.conf.5
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hugeguard $(DESTDIR)$(PREFIX)/share/$(ZSH)/_hugeguard
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/hugeguard.fish $(DESTDIR)$(PREFIX)/bin/hugeguard
	$(if $(DESTDIR),,-journalctl --update-catalog)
	$(if $(DESTDIR),,-systemctl daemon-reload)

clean:
	rm -rf bin
