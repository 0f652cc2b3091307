#!/bin/sh
# agent.sh COMMAND…: any agent that reads HTTPS_PROXY, as the sandbox SANDBOX (or as nobody), with the variables of a proxy that runs.
# They are a request: an agent that means to can go without. `sallyport exec -- COMMAND` puts a wall around it.
set -eu
environment="$(sallyport env ${SANDBOX:+--sandbox "$SANDBOX"})"
eval "$environment"
exec "$@"
