// HTTP/2 over every way in, also through TLS in TLS and where nothing is read: bodies of megabytes arrive as they were sent, and
// a cut by any of those concerned is a cut for all of them, on record, with nothing left open.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2, type ServerHttp2Stream } from "node:http2";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa, type Issued } from "../support/pki.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { textHeader } from "../support/ways/proxy-header.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { trustFile } from "../support/trust-file.ts";
import { Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { http2Server, type Http2Server } from "../support/http2-server.ts";

let ca: Issued;
let origin: Http2Server;
let port: number;
/** The origin's streams that only begin to answer. */
const held: ServerHttp2Stream[] = [];
let proxy: RunningSallyport;
let yaml: (rules: string) => string;
const RULES = (): string => `splice: [spliced.test]
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, { host: spliced.test, networks: [127.0.0.0/8] }]
    tcp: [{ host: raw.test, ports: [${port}], networks: [127.0.0.0/8] }]`;

beforeAll(async () => {
  ca = createCa();
  const certificate = ca.issue({ names: ["origin.test", "spliced.test", "raw.test"] });
  origin = await http2Server(certificate);
  ({ port } = origin);
  origin.server.on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    if (headers[":path"] !== "/held") return void stream.pipe(stream);
    stream.write("hello");
    held.push(stream);
  });
  const trust = await trustFile(ca);
  yaml = (rules) => `
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1], raw.test: [127.0.0.1] } }
tls: { names: [proxy.test] }
proxy_protocol: [127.0.0.2]
transparent: [{ listen: "127.0.0.1:0", port: ${port} }]
anonymous: default
limits: { drain: 1s }
policies:
  default:
    preset: none
    methods: all
    ${rules}
`;
  proxy = await runSallyport(yaml(RULES()));
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

type Way = {
  readonly door: "connect" | "socks5" | "redirected";
  readonly before: string;
  readonly host: string;
};
const WAYS: readonly Way[] = (["connect", "socks5", "redirected"] as const).flatMap((door) =>
  ["", "balancer", "tls", "balancer tls"].flatMap((before) =>
    door === "redirected" && before.includes("tls")
      ? []
      : ["origin.test", "spliced.test", "raw.test"].map((host) => ({ door, before, host })),
  ),
);

async function secured(socket: Socket, servername: string, alpn: readonly string[]): Promise<TLSSocket> {
  const tls = connectTls({
    socket,
    servername,
    ca: [proxy.trustAnchor, ca.cert],
    ALPNProtocols: [...alpn],
  });
  await new Promise<void>((resolve, reject) => {
    tls.once("secureConnect", resolve);
    tls.once("error", reject);
  });
  return tls;
}

async function open({ door, before, host }: Way): Promise<{ tls: TLSSocket; transport: Socket }> {
  const balanced = before.includes("balancer");
  let socket: Socket = connect({
    port: door === "redirected" ? (proxy.sallyport.transparent[0]?.port ?? 0) : proxy.port,
    host: "127.0.0.1",
    localAddress: balanced ? "127.0.0.2" : "127.0.0.1",
  });
  const transport = socket;
  if (balanced) socket.write(textHeader("198.51.100.7"));
  if (before.includes("tls")) socket = await secured(socket, "proxy.test", ["http/1.1"]);
  if (door !== "redirected") {
    const wire = new Wire(socket);
    const target = `${host}:${port}`;
    if (door === "socks5") expect(await socks5(wire, { host, port })).toBe(0);
    else {
      wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      expect((await wire.answer("CONNECT")).status).toBe(200);
    }
    socket.removeAllListeners("data");
  }
  return { transport, tls: await secured(socket, host, ["h2"]) };
}

test.each(WAYS)("bodies: $door, $before, $host", async (way) => {
  const { tls } = await open(way);
  const session = connectHttp2(`https://${way.host}:${port}`, { createConnection: () => tls });
  session.on("error", () => {});
  const sizes = [1, 3_000_000, 700_001, 65_536];
  const hashes = await Promise.all(
    sizes.map(async (size, at) => {
      const body = randomBytes(size);
      const stream = session.request({ ":method": "POST", ":path": `/${at}` });
      const got = createHash("sha256");
      let octets = 0;
      stream.on("data", (chunk: Buffer) => {
        octets += chunk.length;
        got.update(chunk);
      });
      const over = new Promise<void>((resolve, reject) => {
        stream.once("end", resolve);
        stream.once("error", reject);
      });
      for (let from = 0; from < size; from += 17_001) stream.write(body.subarray(from, from + 17_001));
      stream.end();
      await over;
      return [octets, got.digest("hex") === createHash("sha256").update(body).digest("hex")];
    }),
  );
  expect(hashes).toEqual(sizes.map((size) => [size, true]));
  session.destroy();
  tls.destroy();
  await proxy.recorded(settled);
});

const CUTS: Readonly<
  Record<string, (of: { transport: Socket; there: ServerHttp2Stream | undefined }) => void>
> = {
  "the sandbox": ({ transport }) => void transport.resetAndDestroy(),
  "the origin": ({ there }) => there?.session?.destroy(),
  "a new generation": () => void proxy.reconfigure(yaml("")),
};

const CUT_WAYS = WAYS.filter(({ before }) => before === "" || before === "balancer tls");
test.each(Object.entries(CUTS).flatMap(([who, cut]) => CUT_WAYS.map((way) => ({ who, cut, ...way }))))(
  "cut by $who: $door, $before, $host",
  async ({ who, cut, ...way }) => {
    if (who === "a new generation") expect(await proxy.reconfigure(yaml(RULES()))).toBe(true);
    const before = (await proxy.recorded(settled)).length;
    const { tls, transport } = await open(way);
    transport.on("error", () => {});
    tls.on("error", () => {});
    const session = connectHttp2(`https://${way.host}:${port}`, { createConnection: () => tls });
    session.on("error", () => {});
    const stream = session.request({ ":method": "POST", ":path": "/held" }, { endStream: false });
    stream.on("error", () => {});
    const here = new Promise<void>((resolve) => void stream.once("close", resolve));
    let ended = false;
    stream.on("end", () => (ended = true));
    await once(stream, "data");
    const there = held.pop();
    const far = new Promise<void>((resolve) => void there?.once("close", resolve));
    cut({ transport, there });
    // Its own end of TLS in TLS does not hear of its own reset.
    await Promise.all(who === "the sandbox" ? [far] : [here, far]);
    if (who !== "the sandbox") expect([ended && stream.rstCode === 0]).toEqual([false]);
    session.destroy();
    tls.destroy();
    transport.destroy();
    const found = exchanges((await proxy.recorded(settled)).slice(before));
    const outcomes = found.map(({ completion }) => completion?.["reason"] ?? completion?.["outcome"]);
    if (who === "a new generation") expect(outcomes).toContain("policy-changed");
    await expect.poll(() => proxy.metrics()).toContain("\nsallyport_connections_open 0\n");
  },
);
