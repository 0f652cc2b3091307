#!/usr/bin/env bash
# Installs, on Debian 12, a container engine for test/containers, and puts together the root file systems that its images are
# made of, since a test pulls nothing from a registry of images: Debian's own, with the pinned Node. They are kept outside
# the repository under a name that tells what is in them. Does nothing where all is there. Needs root, and `npm ci`.
set -euo pipefail
cd "$(dirname "$0")/.."

# program:package
wanted="
  aardvark-dns:aardvark-dns
  buildah:buildah
  debootstrap:debootstrap
  docker-compose:docker-compose
  ip:iproute2
  iptables:iptables
  netavark:netavark
  podman:podman
  runc:runc
"
# As test/support/containers.ts has it.
kept=/var/cache/sallyport-test
# What images need besides Debian's least: the base of our own; a sandbox's, with what agents work and attack with; and, on top of
# the base, every client of docs/clients.md, npm's in /opt/clients.
base=(ca-certificates)
sandbox=(bind9-dnsutils curl git iproute2 iputils-ping netcat-openbsd python3)
clients=(
  cargo-web chromium curl default-jdk-headless git golang-go iproute2 libnss3-tools maven nftables python3-httpx
  python3-pip python3-requests ruby wget
)
modules=(@grpc/grpc-js@1.14.7 pnpm@12.21.0 undici@8.12.4 ws@8.23.0 yarn@1.22.22)

[[ "$(id -u)" == 0 ]] || { echo 'setup-containers: needs root' >&2; exit 1; }
[[ -x node_modules/node/bin/node ]] || { echo 'setup-containers: needs `npm ci`' >&2; exit 1; }

work="$(mktemp -d)"
trap 'rm -rf --one-file-system "$work"' EXIT

# quietly COMMAND...: says what it said only if it fails.
quietly() {
  "$@" >"$work/log" 2>&1 && return
  cat "$work/log" >&2
  return 1
}

missing=()
for pair in $wanted; do
  # Debian keeps an engine's helpers off the PATH.
  PATH="$PATH:/usr/lib/podman:/usr/sbin" command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
done
if ((${#missing[@]} > 0)); then
  echo "setup-containers: installing ${missing[*]}" >&2
  scripts/apt-install.sh "${missing[@]}"
fi

npm="$(dirname "$(dirname "$(readlink -f "$(command -v npm)")")")"
mirror="$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' | sed -n 's/ bookworm$//p' | head -1)"
: "${mirror:?apt has no source of Debian 12}"

# root NAME PACKAGES...: NAME.tar, unless one of these very packages, this Node and this function is there.
root() {
  local name=$1 key file tree="$work/$1"
  shift
  key="$(cat <(declare -f root) node_modules/node/package.json "$npm/package.json" <(echo "$@") | sha256sum | head -c 16)"
  file="$kept/$name-$key.tar"
  if [[ ! -f "$file" ]]; then
    echo "setup-containers: putting together the file system of image $name" >&2
    quietly debootstrap --variant=minbase --include="$(IFS=,; echo "$*")" bookworm "$tree" "$mirror"
    rm -rf "$tree"/{dev,proc,sys,var/cache/apt,var/lib/apt/lists,usr/share/doc,usr/share/man} "$tree/etc/resolv.conf"
    mkdir -p "$tree"/{dev,proc,sys,var/cache/apt/archives/partial,var/lib/apt/lists/partial,usr/local/lib/node_modules}
    cp -L node_modules/node/bin/node "$tree/usr/local/bin/node"
    cp -R "$npm" "$tree/usr/local/lib/node_modules/npm"
    ln -s ../lib/node_modules/npm/bin/npm-cli.js "$tree/usr/local/bin/npm"
    mkdir -p "$kept"
    rm -f "$kept/$name"-*.tar
    tar -C "$tree" -cf "$work/$name.tar" .
    mv "$work/$name.tar" "$file"
    rm -rf "$tree"
  fi
  ln -sfn "$(basename "$file")" "$kept/$name.tar"
}

# clients_root: the same for clients.tar. apt installs them, since debootstrap does not choose between packages that provide the same.
clients_root() {
  local key file tree="$work/clients"
  key="$(cat <(declare -f clients_root; echo "${clients[@]}" "${modules[@]}"; readlink "$kept/base.tar") | sha256sum | head -c 16)"
  file="$kept/clients-$key.tar"
  if [[ ! -f "$file" ]]; then
    echo 'setup-containers: putting together the file system of image clients' >&2
    mkdir "$tree"
    tar -C "$tree" -xf "$kept/base.tar"
    cp -L /etc/resolv.conf "$tree/etc/resolv.conf"
    # The JDK links its manual pages into a directory that is not there.
    mkdir -p "$tree/usr/share/man/man1" "$tree/opt/clients"
    # Mounts that nobody else sees, and that are gone with the command.
    quietly unshare --mount sh -eu -c '
      tree=$1; shift
      mount -t proc proc "$tree/proc"
      mount --bind /dev "$tree/dev"
      export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
      chroot "$tree" apt-get -qq update
      chroot "$tree" apt-get -qq install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io "$@"
      chroot "$tree" apt-get clean
    ' sh "$tree" "${clients[@]}"
    quietly npm install --prefix "$tree/opt/clients" --ignore-scripts --no-audit --no-fund "${modules[@]}"
    rm -rf "$tree"/var/lib/apt/lists/* "$tree/usr/share/doc" "$tree/usr/share/locale" "$tree/etc/resolv.conf"
    rm -f "$kept"/clients-*.tar
    tar -C "$tree" -cf "$work/clients.tar" .
    mv "$work/clients.tar" "$file"
    rm -rf --one-file-system "$tree"
  fi
  ln -sfn "$(basename "$file")" "$kept/clients.tar"
}

# image NAME: what is in NAME.tar, in a store of images that every engine of a test reads, so that none has to import it.
image() {
  local name=$1 key
  key="$(basename "$(readlink "$kept/$name.tar")" .tar)"
  podman=(podman --root "$kept/images" --runroot "$kept/run" --storage-driver overlay)
  "${podman[@]}" image exists "localhost/$name:$key" && return
  echo "setup-containers: importing the image $name" >&2
  "${podman[@]}" images --quiet "localhost/$name" | xargs -r "${podman[@]}" rmi --force >/dev/null
  quietly "${podman[@]}" import --quiet "$kept/$name.tar" "localhost/$name:$key"
  "${podman[@]}" tag "localhost/$name:$key" "localhost/$name"
}

root base "${base[@]}"
clients_root
root sandbox "${sandbox[@]}"
# As the engines of test/support/containers.ts are: without systemd, and of no one's home.
cat >"$work/containers.conf" <<CONF
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
tmp_dir = "$kept/run/tmp"
[network]
network_backend = "netavark"
CONF
export CONTAINERS_CONF="$work/containers.conf" HOME="$work"
for name in base clients sandbox; do image "$name"; done
