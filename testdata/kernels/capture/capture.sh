#!/bin/bash
# Captures ../NAME.txtar from Debian's kernels, booted one after the other by
# QEMU without KVM. README.md beside the archives says what they are.
#
#	MIRROR=http://MIRROR/debian ./capture.sh [NAME...]
#
# It wants Go, cpio, dpkg, apt and qemu-system-{x86,arm,ppc,mips}, as Debian 12
# has them, and changes nothing outside of a directory of its own: packages are
# fetched by an apt configuration of their own and unpacked, not installed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
: "${MIRROR:?the URL of a Debian mirror}"
work=${WORK:-$(mktemp -d)}
[ -n "${WORK:-}" ] || trap 'rm -rf "$work"' EXIT

# machine NAME sets what the machine of that name is made of.
machine() {
	suite=bookworm arch=amd64 goarch=amd64 package=linux-image-amd64
	qemu=(qemu-system-x86_64 -machine q35)
	append="console=ttyS0"
	case $1 in
	x86_64-two-nodes)
		qemu+=(-cpu max -smp 2 -m 8G)
		nodes 4G 4G
		qemu+=(-numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1 -numa dist,src=0,dst=1,val=21)
		append+=" hugepagesz=1G hugepages=0:1,1:1"
		;;
	x86_64-memoryless-5.10 | x86_64-sparse | x86_64-sparse-6.12)
		case $1 in
		*-5.10) suite=bullseye ;;
		*-6.12) suite=trixie ;;
		esac
		# Node 1 has but a CPU, which init ejects, so that the node goes
		# offline; node 3 has but a CPU, node 4 but memory.
		qemu+=(-cpu max -smp 4,sockets=4,cores=1,threads=1 -m 6G)
		nodes 2G 2G 2G
		qemu+=(
			-numa node,nodeid=0,memdev=m0 -numa node,nodeid=1 -numa node,nodeid=2,memdev=m1
			-numa node,nodeid=3 -numa node,nodeid=4,memdev=m2
			-numa cpu,node-id=0,socket-id=0 -numa cpu,node-id=1,socket-id=1
			-numa cpu,node-id=2,socket-id=2 -numa cpu,node-id=3,socket-id=3
		)
		local a b
		for a in 0 1 2 3; do
			for ((b = a + 1; b < 5; b++)); do
				qemu+=(-numa "dist,src=$a,dst=$b,val=$((10 + 10 * a + b))")
			done
		done
		# Linux 5.10 locked up after the ejection, so there it stays a node
		# without memory.
		[ "$suite" = bullseye ] || append+=" capture.eject=1"
		;;
	x86_64-numa-off)
		qemu+=(-cpu max -smp 2 -m 4G)
		nodes 2G 2G
		qemu+=(-numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1)
		append+=" numa=off default_hugepagesz=1G hugepagesz=1G hugepages=2"
		;;
	arm64-4k | arm64-16k)
		arch=arm64 goarch=arm64 package=linux-image-arm64
		# The cortex-a72 has no pages of 16 KiB.
		local cpu=cortex-a72 giant=" hugepagesz=1G hugepages=0:1,1:1"
		if [ "$1" = arm64-16k ]; then
			suite=trixie package=linux-image-arm64-16k cpu=max,pauth-impdef=on
		fi
		qemu=(qemu-system-aarch64 -machine virt,gic-version=3 -cpu "$cpu" -smp 2 -m 6G)
		nodes 3G 3G
		qemu+=(-numa node,nodeid=0,cpus=0,memdev=m0 -numa node,nodeid=1,cpus=1,memdev=m1 -numa dist,src=0,dst=1,val=17)
		append="console=ttyAMA0$giant"
		;;
	ppc64le-radix | ppc64le-hash | ppc64le-no-hugepages)
		arch=ppc64el goarch=ppc64le package=linux-image-powerpc64le
		local pseries=pseries cpu=power9 cpus=2
		append="console=hvc0"
		case $1 in
		*-radix) append+=" hugepagesz=1G hugepages=1" ;;
		*-hash) pseries+=,cap-hpt-max-page-size=16m cpu=power8 ;;
		# QEMU's default offers hash guests pages of 64 KiB at the most.
		*-no-hugepages) cpu=power8 cpus=1 ;;
		esac
		qemu=(qemu-system-ppc64 -machine "$pseries" -cpu "$cpu" -smp "$cpus" -m 6G)
		nodes 3G 3G
		qemu+=(-numa node,nodeid=0,cpus=0,memdev=m0)
		if [ "$cpus" = 1 ]; then
			qemu+=(-numa node,nodeid=1,memdev=m1)
		else
			qemu+=(-numa node,nodeid=1,cpus=1,memdev=m1)
		fi
		;;
	mips64el-no-numa)
		arch=mips64el goarch=mips64le package=linux-image-5kc-malta
		qemu=(qemu-system-mips64el -machine malta -cpu MIPS64R2-generic -m 1G)
		;;
	*)
		echo "capture.sh: there is no machine $1" >&2
		return 2
		;;
	esac
}

# nodes SIZE... gives the machine memory m0, m1 and so on, which takes the
# host's only where it is touched.
nodes() {
	local i=0 size
	for size in "$@"; do
		qemu+=(-object "memory-backend-ram,id=m$i,size=$size")
		i=$((i + 1))
	done
}

# kernel fetches the machine's kernel and prints its file.
kernel() {
	local d=$work/$suite-$arch dir=$work/$suite-$arch-$package
	if [ ! -d "$dir" ]; then
		if [ ! -d "$d" ]; then
			mkdir -p "$d"/lists/partial "$d"/cache/archives/partial "$d"/etc/{apt.conf,preferences}.d
			: >"$d/status"
			echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $suite main" >"$d/sources.list"
			cat >"$d/apt.conf" <<-END
				APT::Architecture "$arch";
				APT::Architectures { "$arch"; };
				Dir::State "$d";
				Dir::State::status "$d/status";
				Dir::State::lists "$d/lists";
				Dir::Cache "$d/cache";
				Dir::Etc "$d/etc";
				Dir::Etc::sourcelist "$d/sources.list";
				Dir::Etc::sourceparts "-";
				APT::Sandbox::User "root";
				Acquire::Languages "none";
			END
			APT_CONFIG=$d/apt.conf apt-get -q update >&2
		fi
		local real
		real=$(APT_CONFIG=$d/apt.conf apt-cache depends "$package" | sed -n 's/^ *Depends: \(linux-image-\)/\1/p')
		(cd "$d" && APT_CONFIG=$d/apt.conf apt-get -q download "$real" >&2)
		mkdir "$dir"
		dpkg-deb --fsys-tarfile "$d/${real}"_*.deb | tar -x -C "$dir" --wildcards './boot/*'
		echo "$real $(dpkg-deb -f "$d/${real}"_*.deb Version) $arch, Debian $suite" >"$dir/name"
	fi
	echo "$dir"/boot/vmlinu*
}

capture() {
	local name=$1 image console=$work/$1.console archive=$here/../$1.txtar
	machine "$name"
	image=$(kernel)
	local root=$work/root-$goarch
	if [ ! -d "$root" ]; then
		mkdir "$root"
		(cd "$here/init" && CGO_ENABLED=0 GOMIPS64=softfloat GOARCH=$goarch go build -trimpath -ldflags='-s -w' -o "$root/init" .)
		(cd "$root" && echo init | cpio --quiet -o -H newc) >"$root.cpio"
	fi
	# Emulated machines of several CPUs hang at times.
	local try
	for try in 1 2 3 none; do
		if [ "$try" = none ]; then
			echo "capture.sh: $name: the console, $console, has no whole archive" >&2
			return 1
		fi
		timeout "${TIMEOUT:-120}" nice "${qemu[@]}" -accel tcg -nodefaults -display none -no-reboot \
			-serial "file:$console" -kernel "$image" -initrd "$root.cpio" -append "$append" || true
		grep -a '^init: ' "$console" >&2 || true
		sed '1,/^capture-begin /d; /^capture-end/,$d' "$console" >"$work/$name.body"
		if echo "$(sed -n 's/^capture-begin \([0-9a-f]*\).*/\1/p' "$console")  $work/$name.body" | sha256sum --status -c 2>/dev/null; then
			break
		fi
	done
	{
		echo "package: $(cat "$(dirname "$image")/../name")"
		echo "machine: ${qemu[*]}"
		cat "$work/$name.body"
	} >"$archive"
	echo "$name: $(stat -c %s "$archive") bytes"
}

if [ $# = 0 ]; then
	set -- x86_64-two-nodes x86_64-sparse x86_64-memoryless-5.10 x86_64-sparse-6.12 x86_64-numa-off arm64-4k arm64-16k \
		ppc64le-radix ppc64le-hash ppc64le-no-hugepages mips64el-no-numa
fi
for name; do
	capture "$name"
done
