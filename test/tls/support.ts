// What the tests of src/tls share: a directory that goes away, an issuer, a server that picks leaves by SNI.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { onTestFinished } from "vitest";
import { parseHost, type Host } from "../../src/net/host.ts";
import { createLeafCache, type LeafCache, type LeafCacheOptions } from "../../src/tls/leaf-cache.ts";
import { mintLeaf } from "../../src/tls/mint.ts";
import { openTrustAnchor, type Issuer } from "../../src/tls/trust-anchor.ts";
import type { Issued } from "../support/pki.ts";

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-tls-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export const freshIssuer = async (now?: number): Promise<Issuer> =>
  openTrustAnchor({ directory: await temporaryDirectory() }, now);

export async function suppliedIssuer(supplied: Issued, above?: Issued): Promise<Issuer> {
  const directory = await temporaryDirectory();
  const at = (name: string) => join(directory, name);
  await writeFile(at("own.pem"), supplied.cert);
  await writeFile(at("own.key"), supplied.key, { mode: 0o600 });
  if (above) await writeFile(at("chain.pem"), above.cert);
  return openTrustAnchor({
    certFile: at("own.pem"),
    keyFile: at("own.key"),
    ...(above ? { chainFile: at("chain.pem") } : {}),
  });
}

export function host(text: string): Host {
  const parsed = parseHost(text);
  if (parsed === undefined) throw new Error(`not a host: ${text}`);
  return parsed;
}

export function leafCache(issuer: Issuer, options: Partial<LeafCacheOptions> = {}): LeafCache {
  return createLeafCache({
    issuer,
    max: 100,
    mintsPerSecond: 100,
    mintBurst: 100,
    now: Date.now,
    on: { minted: () => {}, hit: () => {} },
    ...options,
  });
}

export const LIAR = "liar.example.com";

/** Serves each SNI its own leaf, and clients without SNI that of 127.0.0.1. `LIAR` gets another's. */
export async function serveBySni(issuer: Issuer): Promise<number> {
  const cache = leafCache(issuer);
  const fallback = mintLeaf(issuer, host("127.0.0.1"), Date.now());
  const server = tls.createServer({
    cert: fallback.chainPem,
    key: fallback.key.export({ type: "pkcs8", format: "pem" }),
    SNICallback: (name, done) => {
      done(null, cache.contextFor(host(name === LIAR ? "someone-else.example.com" : name)));
    },
  });
  return listen(server);
}

/** Serves one host as the proxy does: TLS over a connection that is there already. Answers a greeting. */
export async function serveHost(cache: LeafCache, name: string): Promise<number> {
  return listen(
    net.createServer((raw) => {
      const socket = new tls.TLSSocket(raw, { isServer: true, secureContext: cache.contextFor(host(name)) });
      socket.on("error", () => raw.destroy());
      socket.on("secure", () => socket.end("hello"));
    }),
  );
}

async function listen(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}
