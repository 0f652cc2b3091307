# Sallyport as an image of Node, its libraries and the build: nothing else, no shell, no package manager, no root.
#   docker build -t sallyport .
#   docker run --read-only --cap-drop ALL -v sallyport:/var/lib/sallyport -p 127.0.0.1:3128:3128 sallyport

# A Debian-like image with Node 24 and npm.
ARG BASE=docker.io/library/node:24-bookworm-slim

FROM ${BASE} AS build
WORKDIR /opt/sallyport
COPY package.json package-lock.json ./
# No install scripts: the Node of the base image is the one that builds and runs. An .npmrc for a registry of one's own, and
# the trust anchors that its cafile=/run/secrets/ca names, come as secrets, which no layer keeps:
#   docker build --secret id=npmrc,src=.npmrc --secret id=ca,src=ca.pem
RUN --mount=type=secret,id=npmrc --mount=type=secret,id=ca \
    NPM_CONFIG_USERCONFIG=/run/secrets/npmrc npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund
COPY presets presets
COPY LICENSE ./

# What a process needs: Node, the libraries that it is linked to, the system's trust anchors where the base has them.
RUN set -eu; \
    mkdir -p /image/opt/sallyport /image/usr/local/bin /image/etc/ssl/certs /image/etc/sallyport/presets /image/var/lib/sallyport /image/files; \
    node="$(node -p process.execPath)"; \
    cp -L "$node" /image/usr/local/bin/node; \
    ldd "$node" | grep -o '/[^ ]*' | while read -r library; do \
      mkdir -p "/image$(dirname "$library")"; cp -L "$library" "/image$library"; \
    done; \
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then cp -L /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/; fi; \
    echo 'sallyport:x:65532:65532::/var/lib/sallyport:/none' >/image/etc/passwd; \
    echo 'sallyport:x:65532:' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    cp -R package.json LICENSE dist presets node_modules /image/opt/sallyport/; \
    chmod -R go-w,a+rX /image; \
    chown -R 65532:65532 /image/var/lib/sallyport /image/files; \
    chmod 0700 /image/var/lib/sallyport
COPY deploy/image/sallyport.yaml /image/etc/sallyport/sallyport.yaml

FROM scratch
LABEL org.opencontainers.image.title="Sallyport" \
      org.opencontainers.image.description="An egress-filtering, TLS-intercepting forward proxy for AI-agent sandboxes" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
ENV NODE_ENV=production \
    HOME=/var/lib/sallyport \
    PATH=/usr/local/bin
USER 65532:65532
# sallyport.yaml is looked for in the working directory, so that every command finds it: `docker exec … explain …`.
WORKDIR /etc/sallyport
# The trust anchor and the audit log; and the operator's file with presets of their own.
VOLUME ["/var/lib/sallyport"]
EXPOSE 3128 9128
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["/usr/local/bin/node", "-e", "fetch('http://127.0.0.1:9128/healthz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=2", "--no-allocation-site-pretenuring", "--heap-growing-percent=200", "/opt/sallyport/dist/cli/main.js"]
CMD ["run"]
