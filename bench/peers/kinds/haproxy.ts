// HAProxy as a bound: it ends TLS with the origin's own certificate and makes it anew, verified, without any policy and
// without minting anything. One thread, since it has one core; it knows no CONNECT, so the load speaks TLS straight to it.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { has } from "../lab.ts";
import { launched, type Peer } from "../peer.ts";
import { freePort } from "../processes.ts";

export const haproxy: Peer = {
  name: "haproxy",
  skills: ["intercept", "bulk", "handshakes"],
  missing: () => (has("haproxy") ? undefined : "haproxy is not installed"),
  async start(lab) {
    const port = await freePort();
    const file = join(lab.directory, "haproxy.cfg");
    await writeFile(
      file,
      `
global
  maxconn 4000
  nbthread 1
defaults
  mode http
  timeout connect 10s
  timeout client 75s
  timeout server 300s
  http-reuse always
frontend sandboxes
  bind 127.0.0.1:${port} ssl crt ${lab.identity} alpn http/1.1
  default_backend origin
backend origin
  server origin 127.0.0.1:${lab.origin.secured} ssl verify required ca-file ${lab.ca.cert} sni str(origin.test) verifyhost origin.test alpn http/1.1
`,
    );
    return launched(["haproxy", "-db", "-q", "-f", file], port, { via: "tls", trusted: lab.ca.pem });
  },
};
