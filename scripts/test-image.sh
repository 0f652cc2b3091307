#!/usr/bin/env bash
# Builds the image and runs it as it should be run: read-only, no capabilities, no privileges. Touches no engine or
# storage of the machine's. Needs root, Debian's buildah, podman and runc (under CI=true it installs them), and `npm ci`.
# The base image is $BASE, or one put together here from Debian's packages and the pinned Node, so that nothing is
# pulled from a registry of images.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  if [[ "${CI:-}" == true ]]; then printf 'test-image: %s\n' "$1" >&2; exit 1; fi
  printf 'test-image: skipped: %s\n' "$1"
  exit 0
}
missing() {
  local name
  for name in buildah podman runc; do command -v "$name" >/dev/null || { echo "$name"; return; }; done
}

[[ "$(id -u)" == 0 ]] || skip 'needs root'
[[ -x node_modules/node/bin/node ]] || skip 'needs `npm ci`'
if [[ -n "$(missing)" && "${CI:-}" == true ]]; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get -qq update && apt-get -qq install -y --no-install-recommends buildah podman runc; } >/dev/null 2>&1 ||
    skip 'buildah, podman and runc cannot be installed'
fi
[[ -z "$(missing)" ]] || skip "there is no $(missing)"

work="$(mktemp -d)"
cleanup() {
  podman rm --all --force --time 0 >/dev/null 2>&1 || true
  rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }
}
trap cleanup EXIT

# No systemd, no overlay, no raised limits: what a container inside a container can do.
cat >"$work/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$work/tmp"
EOF
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/storage" "$work/run" >"$work/storage.conf"
export CONTAINERS_CONF="$work/containers.conf" CONTAINERS_STORAGE_CONF="$work/storage.conf" STORAGE_DRIVER=vfs

# What the build stage needs of a base image: a shell and its tools, Node and npm.
base() {
  local root="$work/base" container
  mkdir -p "$root" "$work/debs"
  (cd "$work/debs" && apt-get -qq download bash coreutils dash debianutils grep libacl1 libattr1 libc-bin libc6 \
    libgcc-s1 libgmp10 libpcre2-8-0 libselinux1 libssl3 libstdc++6 libtinfo6 sed) >/dev/null 2>&1
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  mkdir -p "$root"/{dev,proc,sys,tmp,root,etc/ssl/certs,usr/local/bin,usr/local/lib/node_modules}
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  cp node_modules/node/bin/node "$root/usr/local/bin/node"
  cp -R "$(dirname "$(readlink -f "$(command -v npm)")")/.." "$root/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
  container="$(buildah from scratch)"
  buildah add -q "$container" "$root" / >/dev/null
  buildah config --env PATH=/usr/local/bin:/usr/bin:/bin "$container"
  buildah commit -q --rm "$container" localhost/base >/dev/null
}

say() { printf 'test-image: %s\n' "$*"; }
run() {
  podman run --detach --name "$1" --network none --read-only --read-only-tmpfs=false --cap-drop ALL \
    --security-opt no-new-privileges --volume state:/var/lib/sallyport localhost/sallyport >/dev/null 2>"$work/run.log" ||
    { cat "$work/run.log" >&2; return 1; }
}
cli() { podman exec "$1" /usr/local/bin/node /opt/sallyport/dist/cli/main.js "${@:2}"; }
ready() {
  for _ in {1..50}; do
    if podman healthcheck run "$1" >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  podman logs "$1" >&2
  return 1
}

if [[ -z "${BASE:-}" ]]; then
  base
  BASE=localhost/base
  echo 'cafile=/etc/ssl/certs/ca-certificates.crt' >"$work/npmrc"
fi
# Packages come from where this machine gets them, and are verified against what it trusts.
npmrc="$(npm config get userconfig 2>/dev/null)"
if [[ -f "$npmrc" ]]; then cat "$npmrc" >>"$work/npmrc"; fi
printf '\nregistry=%s\n' "$(npm config get registry 2>/dev/null)" >>"$work/npmrc"
timeout 240 buildah build --format docker --isolation chroot --layers=false --network host --build-arg BASE="$BASE" \
  --secret "id=npmrc,src=$work/npmrc" --tag localhost/sallyport . >"$work/build.log" 2>&1 ||
  { cat "$work/build.log" >&2; exit 1; }
say "built, $(podman image inspect --format '{{.Size}}' localhost/sallyport | numfmt --to=iec) in all"

run first
ready first
say 'healthy by its own HEALTHCHECK'
timeout 30 podman exec --interactive first /usr/local/bin/node - <scripts/image-inside.js
cli first check >/dev/null
cli first audit verify >/dev/null 2>&1
say 'check and audit verify pass inside it'
anchor="$(cli first ca show)"
podman stop --time 40 first >/dev/null 2>&1
[[ "$(podman inspect --format '{{.State.ExitCode}}' first)" == 0 ]]
say 'stopped in good order, exit 0'
run second
ready second
[[ "$(cli second ca show)" == "$anchor" ]]
say 'started again on the same volume, with the same trust anchor'
