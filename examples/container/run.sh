#!/bin/sh
# run.sh IMAGE COMMAND…: the command in a container behind the wall, with this directory as its own; then what was refused.
set -eu
engine="${ENGINE:-docker}"
here="$(cd "$(dirname "$0")" && pwd)"
given="$(mktemp -d)"
trap '"$here/wall.sh" down; rm -rf "$given"' EXIT

"$here/wall.sh" up "$given"
status=0
"$engine" run --rm --network sandboxes --dns 127.0.0.1 --cap-drop ALL --security-opt no-new-privileges \
  --env-file "$given/env" --volume "$given/files:/etc/sallyport:ro" --volume "$PWD:/work" --workdir /work "$@" || status=$?
"$here/wall.sh" refused >&2
exit "$status"
