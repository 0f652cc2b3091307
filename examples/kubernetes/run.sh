#!/bin/sh
# Starts the sandbox beside this file and follows it to its end.
set -eu
address="$(kubectl --namespace sallyport get service sallyport --output 'jsonpath={.spec.clusterIP}')"
sed "s/PROXY_ADDRESS/$address/" "$(dirname "$0")/sandbox.yaml" | kubectl apply --filename -
kubectl --namespace sandboxes wait pod/agent --for 'jsonpath={.status.phase}=Succeeded' --timeout 5m
kubectl --namespace sandboxes logs agent
