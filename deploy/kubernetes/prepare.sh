#!/bin/sh
# Makes what the kustomizations beside this file read and nobody commits: the trust anchor and what else replicas share
# (keys/), what sandboxes are given (sandboxes/). What is there already stays as it is. Needs `sallyport` and openssl.
#   STORE_URL='postgres://sallyport:…@postgresql.database.svc/sallyport' deploy/kubernetes/prepare.sh
set -eu
umask 077
cd "$(dirname "$0")"

if [ ! -e keys/tickets.key ]; then openssl rand -out keys/tickets.key 48; fi
if [ ! -e keys/sallyport.env ]; then
  printf 'AGENT_TOKEN=%s\nSTORE_URL=%s\n' "$(openssl rand -hex 24)" "${STORE_URL:-}" >keys/sallyport.env
fi

# Makes the trust anchor, if there is none yet, and the sandboxes' files and variables of it.
cat >keys/prepare.yaml <<YAML
certs: .
policies: { default: { preset: none } }
sandboxes: [{ id: agent, secret: "\${AGENT_TOKEN}", policy: default }]
YAML
AGENT_TOKEN="$(sed -n 's/^AGENT_TOKEN=//p' keys/sallyport.env)" sallyport env --config keys/prepare.yaml \
  --proxy http://sallyport.sallyport.svc:3128 --sandbox agent --format dotenv \
  --out sandboxes/files --mount-point /etc/sallyport >sandboxes/quoted.env
# kustomize takes quotation marks as part of the value.
sed "s/^\([A-Za-z_]*\)='\(.*\)'\$/\1=\2/" sandboxes/quoted.env >sandboxes/sandbox.env
rm keys/prepare.yaml sandboxes/quoted.env
