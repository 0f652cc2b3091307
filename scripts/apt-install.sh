#!/bin/sh
# apt-install.sh PACKAGE...: installs Debian packages whose programs tests and benchmarks start for themselves. None of the services that come
# with them (sshd, squid, PostgreSQL, Prometheus) runs on this machine for it, now or when it next boots. Needs root.
set -eu

policy=/usr/sbin/policy-rc.d
mark='# Of a test: no package starts its service.'
work=$(mktemp -d)

# One a line; nothing where systemd does not run.
enabled() {
  [ ! -d /run/systemd/system ] || systemctl list-unit-files --state=enabled --no-legend | cut -d ' ' -f 1 | sort
}

finish() {
  # One that a run before this was not let remove is removed, too; what an administrator wrote there stays.
  ! grep -qsxF "$mark" "$policy" || rm -f "$policy"
  enabled >"$work/after"
  comm -13 "$work/before" "$work/after" | while read -r unit; do systemctl --quiet disable --now "$unit"; done
  rm -r "$work"
}

enabled >"$work/before"
trap finish EXIT
trap 'exit 130' HUP INT TERM
# What invoke-rc.d and deb-systemd-invoke ask; 101: the action is not allowed.
[ -e "$policy" ] || {
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
  chmod 0755 "$policy"
}

export DEBIAN_FRONTEND=noninteractive
# A source that cannot be reached is no failure while the rest has what is needed.
apt-get -qq update >/dev/null 2>&1 || true
apt-get -qq install --no-install-recommends -y "$@" >"$work/log" 2>&1 || {
  cat "$work/log" >&2
  exit 1
}
