// What the tests of src/tls share: a directory that goes away, an issuer, a server that picks leaves by SNI.

import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { createServer } from "node:https";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { onTestFinished } from "vitest";
import { parseHost, type Host } from "../../src/net/host.ts";
import { createLeafCache, type LeafCache, type LeafCacheOptions } from "../../src/tls/leaf-cache.ts";
import { mintLeaf } from "../../src/tls/mint.ts";
import { openTrustAnchor, type Issuer } from "../../src/tls/trust-anchor.ts";
import { createCa, type Issued } from "../support/pki.ts";

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
  const ticketKeys = randomBytes(48);
  return createLeafCache({
    issuer,
    max: 100,
    mintsPerSecond: 100,
    mintBurst: 100,
    now: Date.now,
    ticketKeys: () => ticketKeys,
    on: { minted: () => {}, hit: () => {} },
    ...options,
  });
}

export const ISSUERS: [string, () => Promise<Issuer>][] = [
  ["a CA made here", () => freshIssuer()],
  ["an own RSA CA", () => suppliedIssuer(ownCa())],
  [
    "an own intermediate",
    () => {
      const own = ownCa();
      return suppliedIssuer(own.issue({ commonName: "Own Intermediate", ca: true, pathLength: 0 }), own);
    },
  ],
];

const ownCa = (): Issued => createCa({ key: "rsa2048", pathLength: 1 });

/** Too long for a common name. */
export const LONG = `${"long-label-".repeat(5)}end.${"another-".repeat(7)}end.example.com`;
export const LIAR = "liar.example.com";
export const NAMES = ["app.example.com", LONG, "127.0.0.1", LIAR];
/** Everything verifies but the name whose server shows another's leaf. */
export const VERDICTS = { "app.example.com": "ok", [LONG]: "ok", "127.0.0.1": "ok", [LIAR]: "refused" };

/** Serves each SNI its own leaf, and clients without SNI that of 127.0.0.1. `LIAR` gets another's. Answers HTTP. */
export async function serveBySni(issuer: Issuer): Promise<number> {
  const cache = leafCache(issuer);
  const fallback = mintLeaf(issuer, host("127.0.0.1"), Date.now());
  const server = createServer(
    {
      cert: fallback.chainPem,
      key: fallback.key.export({ type: "pkcs8", format: "pem" }),
      SNICallback: (name, done) => {
        done(null, cache.contextFor(host(name === LIAR ? "someone-else.example.com" : name)));
      },
    },
    (_request, response) => void response.end("hello"),
  );
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
