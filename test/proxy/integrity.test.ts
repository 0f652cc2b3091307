// Bodies arrive as they were sent, both ways at once, over every kind of connection, however they are cut into pieces.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, request, type RequestListener, type RequestOptions, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa, type Issued } from "../support/pki.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { openTunnel, Wire } from "./wire.ts";
import { settled } from "../support/audit-records.ts";
import { trustFile } from "../support/trust-file.ts";

let ca: Issued;
let plain: Server;
let secure: Server;
let proxy: RunningSallyport;

/** Echoes the body behind its own hash, with a length or without. */
const echo: RequestListener = (incoming, outgoing) => {
  const sized = incoming.url?.startsWith("/sized") === true;
  const length = incoming.headers["content-length"];
  outgoing.writeHead(200, {
    ...(sized && length !== undefined && { "Content-Length": length }),
    ...(incoming.url?.includes("close") === true && { Connection: "close" }),
  });
  incoming.pipe(outgoing);
};

beforeAll(async () => {
  ca = createCa();
  const certificate = ca.issue({ names: ["origin.test", "spliced.test"] });
  plain = createServer(echo).listen(0, "127.0.0.1");
  secure = createSecureServer({ cert: certificate.chain, key: certificate.key }, echo).listen(0, "127.0.0.1");
  for (const server of [plain, secure]) if (!server.listening) await once(server, "listening");
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1] } }
anonymous: default
limits: { drain: 1s }
policies:
  default:
    preset: none
    methods: all
    splice: [spliced.test]
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: spliced.test, networks: [127.0.0.0/8] }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  for (const server of [plain, secure]) {
    server.closeAllConnections();
    server.close();
  }
});

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

type Sender = (path: string, sized: boolean, octets: Buffer, pause: number) => Promise<Buffer>;

async function exchange(
  options: RequestOptions,
  sized: boolean,
  octets: Buffer,
  pause: number,
): Promise<Buffer> {
  const outgoing = request({
    method: "POST",
    ...options,
    headers: {
      ...(options.headers as Record<string, string>),
      ...(sized && { "Content-Length": octets.length }),
    },
  });
  const unanswered = new AbortController();
  const answer = once(outgoing, "response").finally(() => unanswered.abort());
  for (let at = 0; at < octets.length;) {
    const end = at + 1 + Math.floor(Math.random() * 200_000);
    // Nobody reads the answer yet, and behind that the rest may never drain.
    if (!outgoing.write(octets.subarray(at, end)))
      await once(outgoing, "drain", { signal: unanswered.signal }).catch(() => answer);
    at = end;
  }
  outgoing.end();
  const [incoming] = (await answer) as [NodeJS.ReadableStream & { complete: boolean }];
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) {
    chunks.push(chunk as Buffer);
    if (pause > 0 && chunks.length === 3) await new Promise((resolve) => setTimeout(resolve, pause));
  }
  expect(incoming.complete).toBe(true);
  return Buffer.concat(chunks);
}

const absolute: Sender = (path, sized, octets, pause) => {
  const authority = `origin.test:${portOf(plain)}`;
  const path_ = `http://${authority}${path}`;
  const createConnection = () => connect(proxy.port, "127.0.0.1");
  return exchange({ path: path_, headers: { Host: authority }, createConnection }, sized, octets, pause);
};

const inTunnel =
  (host: string): Sender =>
  async (path, sized, octets, pause) => {
    const authority = `${host}:${portOf(secure)}`;
    const wire = await openTunnel({
      port: proxy.port,
      target: authority,
      tls: { ca: [proxy.trustAnchor, ca.cert], servername: host },
    });
    if (!(wire instanceof Wire)) throw new Error("no tunnel");
    wire.socket.removeAllListeners("data");
    const createConnection = () => wire.socket;
    const got = await exchange(
      { path, headers: { Host: authority }, createConnection },
      sized,
      octets,
      pause,
    );
    wire.socket.destroy();
    return got;
  };

const hash = (octets: Buffer): string => createHash("sha256").update(octets).digest("hex");

test.each([
  { name: "absolute", send: absolute },
  { name: "intercepted", send: inTunnel("origin.test") },
  { name: "spliced", send: inTunnel("spliced.test") },
])("$name", async ({ send }) => {
  const sizes = [0, 1, 16_383, 16_384, 65_537, 300_000, 3_000_000];
  const jobs = sizes.flatMap((size) =>
    ["/sized", "/chunked", "/sized-close", "/chunked-close"].map(async (path) => {
      const octets = Buffer.alloc(size, `${size}-${path}-`);
      const got = await send(path, path.startsWith("/sized"), octets, 0);
      expect([path, size, hash(got)]).toEqual([path, size, hash(octets)]);
    }),
  );
  await Promise.all(jobs);
  const large = Buffer.alloc(20_000_000, "0123456789abcdef-");
  expect(hash(await send("/chunked-close", true, large, 2_500))).toBe(hash(large));
  await proxy.recorded(settled);
});
