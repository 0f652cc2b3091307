// The content of every file that a configuration names for the data path, read once by whoever judges it: a file that
// changes meanwhile makes no difference between processes. Read anew at each reload, since files are replaced under their names.

import { readFileSync } from "node:fs";
import type { Config } from "../config/types.ts";
import { readTicketKeys } from "../tls/ticket-keys.ts";
import type { ProxyTlsFiles } from "../tls/proxy-tls.ts";
import { readTrust, type TrustMaterial } from "../upstream/trust.ts";

export type Materials = {
  /** What origins are verified against. */
  readonly origins: TrustMaterial;
  /** What parent proxies with trust anchors of their own are verified against: that of `upstream.parent`, then those of the routes. */
  readonly parents: readonly (TrustMaterial | undefined)[];
  readonly tls: ProxyTlsFiles | undefined;
  /** `undefined`: those that the proxy made for itself. */
  readonly ticketKeys: Uint8Array | undefined;
};

/** Throws an error that names the file at fault. */
export function readMaterials({ upstream, tls, ticketKeys }: Config): Materials {
  const trusted = (sources: Config["upstream"]["trust"]): TrustMaterial =>
    readTrust({
      trust: sources.map((source) => (source.kind === "file" ? source.path : source.kind)),
      crlFiles: upstream.crls,
    });
  return {
    origins: trusted(upstream.trust),
    parents: [upstream.parent, ...upstream.routes.map(({ parent }) => parent)].map(
      (parent) => parent?.trust && trusted(parent.trust),
    ),
    tls: tls && {
      certificate: tls.certificate && { cert: read(tls.certificate.cert), key: read(tls.certificate.key) },
      clientCa: tls.clientCa === undefined ? undefined : read(tls.clientCa),
    },
    ticketKeys: ticketKeys === undefined ? undefined : readTicketKeys(ticketKeys),
  };
}

function read(path: string): string {
  return readFileSync(path, "utf8");
}
