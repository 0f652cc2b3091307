#!/bin/sh
# Installs, on Debian 12, the programs that the tests run and that are not there yet: the real clients of test/clients, and
# promtool and openssl, which judge what we make. Does nothing where all are there. Needs root and apt-get.
set -eu

# program:package
wanted="
  apt-get:apt
  curl:curl
  git:git
  go:golang-go
  java:default-jdk-headless
  javac:default-jdk-headless
  openssl:openssl
  promtool:prometheus
  python3:python3
  update-ca-certificates:ca-certificates
  wget:wget
"

missing=""
for pair in $wanted; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

echo "setup-tests: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A source that cannot be reached is no failure while the rest has what is needed.
apt-get -qq update >"$log" 2>&1 || true
# shellcheck disable=SC2086 # one word a package
if ! apt-get -qq install --no-install-recommends -y $missing >>"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
