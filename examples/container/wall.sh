#!/bin/sh
# wall.sh up DIRECTORY: a network that leads nowhere but to Sallyport, in a container of its own; the directory then holds what
# a container on it is given:
#   docker run --network sandboxes --dns 127.0.0.1 --env-file DIRECTORY/env --volume DIRECTORY/files:/etc/sallyport:ro …
# wall.sh refused: what was refused so far. wall.sh down: both are gone; the records stay in the volume `sallyport`.
# With podman: ENGINE=podman. The image is built from the Dockerfile of this repository.
set -eu
engine="${ENGINE:-docker}"
image="${SALLYPORT_IMAGE:-registry.example/sallyport:0.1.0}"
here="$(cd "$(dirname "$0")" && pwd)"

sallyport() { "$engine" exec sallyport /usr/local/bin/node /opt/sallyport/dist/cli/main.js "$@"; }

up() {
  mkdir -p "$1"
  "$engine" network create --internal sandboxes >/dev/null
  # It has a foot in both networks, and must not be a router between them.
  "$engine" run --detach --name sallyport --read-only --cap-drop ALL --security-opt no-new-privileges --sysctl net.ipv4.ip_forward=0 \
    --volume sallyport:/var/lib/sallyport --volume "$here/sallyport.yaml:/etc/sallyport/sallyport.yaml:ro" "$image" >/dev/null
  "$engine" network connect sandboxes sallyport
  # By its address: the engine's name server may answer for the whole world, and is nothing that a sandbox needs.
  address="$("$engine" inspect --format '{{(index .NetworkSettings.Networks "sandboxes").IPAddress}}' sallyport)"
  sallyport env --proxy "http://$address:3128" --format dotenv \
    --out /var/lib/sallyport/files --mount-point /etc/sallyport >"$1/env"
  "$engine" cp sallyport:/var/lib/sallyport/files "$1"
}

down() {
  "$engine" rm --force sallyport >/dev/null
  "$engine" network rm sandboxes >/dev/null
}

case "${1:-}" in
  up) up "${2:?where to put what containers are given}" ;;
  refused) sallyport audit tail --verdict deny ;;
  down) down ;;
  *) sed -n 's/^# //p' "$0" >&2; exit 2 ;;
esac
