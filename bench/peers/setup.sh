#!/bin/sh
# Installs what `npm run bench -- peers` compares with and is not there yet: Debian's packages by apt, those of npm into a cache of
# the benchmark's own. Needs root for apt; what cannot be had is named and left out, and the benchmark runs without it.
set -u

cache="${XDG_CACHE_HOME:-$HOME/.cache}/sallyport-bench"
npm_peers="mockttp@4.6.5 http-mitm-proxy@1.1.0 @anthropic-ai/sandbox-runtime@0.0.83"
debian_peers="golang-go haproxy squid-openssl mitmproxy golang-github-elazarl-goproxy-dev golang-github-google-martian-dev"

log=$(mktemp)
trap 'rm -f "$log"' EXIT

missing=""
for package in $debian_peers; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed$' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "setup:$missing" >&2
  install="$(dirname "$0")/../../scripts/apt-install.sh"
  # shellcheck disable=SC2086 # names of packages
  "$install" $missing >"$log" 2>&1 || for package in $missing; do # one that is not there must not keep the others out
    "$install" "$package" >"$log" 2>&1 || echo "setup: cannot be had: $package" >&2
  done
fi

for package in $npm_peers; do
  name=${package%@*}
  installed=$(sed -n 's/^  "version": "\(.*\)".*/\1/p' "$cache/npm/node_modules/$name/package.json" 2>/dev/null)
  [ "$installed" = "${package##*@}" ] && continue
  echo "setup: $package" >&2
  mkdir -p "$cache/npm"
  npm install --prefix "$cache/npm" --ignore-scripts --no-audit --no-fund --save-exact "$package" >"$log" 2>&1 ||
    echo "setup: cannot be had: $package" >&2
done
