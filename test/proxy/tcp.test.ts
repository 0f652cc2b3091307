// Raw TCP tunnels by CONNECT and by SOCKS5: whoever speaks first, whatever is spoken; judged, metered, recorded, bounded
// and cut like any other.

import { createServer, type AddressInfo, type Server } from "node:net";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { dialPort, type Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

let origin: RecordingOrigin;
let other: RecordingOrigin;
let proxy: RunningSallyport;
let recorded = 0;
const BANNER = "SSH-2.0-origin\r\n";

const yaml = (rules: string, limits = ""): string => `
upstream:
  hosts: { git.test: [127.0.0.1], metadata.test: [169.254.169.254], inner.test: [127.0.0.1], both.test: [127.0.0.1] }
anonymous: default
limits: { drain: 1s, handshake: 1s, head_time: 1s${limits} }
policies:
  default:
    methods: all
    ${rules}
`;
const rules = (port = origin.port): string => `tcp:
      - { host: git.test, ports: [${port}], networks: [127.0.0.0/8], reason: clones }
      - { host: 127.0.0.1, ports: [${port}, ${proxy?.port ?? 1}, ${proxy?.adminPort ?? 1}] }
      - { host: metadata.test, ports: [80], networks: [169.254.0.0/16] }
      - { host: inner.test, ports: [${port}] }
      - { host: both.test, ports: [${port}], networks: [127.0.0.0/8] }
    allow: [{ host: both.test, networks: [127.0.0.0/8] }]
    deny: [{ host: denied.test }]`;

beforeAll(async () => {
  origin = await recordingOrigin();
  other = await recordingOrigin();
  proxy = await runSallyport(yaml(rules()));
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  origin.reset();
  origin.behave((socket) => {
    socket.write(BANNER);
    socket.on("data", (chunk: Buffer) => socket.write(chunk));
  });
  expect(await proxy.reconfigure(yaml(rules()))).toBe(true);
});

afterEach(async () => void (await proxy.recorded(settled)));

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

const found = async (enough: number) => {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(recorded)).filter(exchange).length >= enough,
  );
  return exchanges(all.slice(recorded)).filter(exchange);
};
const exchange = ({ decision }: { decision: Record<string, unknown> }): boolean =>
  decision["id"] !== undefined;

type Way = (host: string, port: number, first?: string) => Promise<{ wire: Wire; opened: unknown }>;

const WAYS: readonly (readonly [string, Way, unknown])[] = [
  [
    "CONNECT",
    async (host, port, first = "") => {
      const wire = await dialPort(proxy.port);
      wire.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n${first}`);
      const { status, field } = await wire.answer("CONNECT");
      return { wire, opened: status === 200 ? "open" : field("sallyport-reason") };
    },
    "reason",
  ],
  [
    "SOCKS5",
    async (host, port, first = "") => {
      const wire = await dialPort(proxy.port);
      const code = await socks5(wire, { host, port });
      wire.write(first);
      return { wire, opened: code === 0 ? "open" : code };
    },
    "code",
  ],
];

test.each(WAYS)("%s: the origin speaks first, and what it gets is what was sent", async (_, open) => {
  const { wire, opened } = await open("git.test", origin.port);
  expect(opened).toBe("open");
  await wire.until(() => wire.held.includes("\n"));
  expect(wire.held).toBe(BANNER);
  wire.write("SSH-2.0-sandbox\r\n\0\x16\x03\x01");
  await wire.until(() => wire.held.endsWith("\x01"));
  wire.socket.end();
  wire.socket.destroy();
  expect(origin.received).toBe("SSH-2.0-sandbox\r\n\0\x16\x03\x01");
  const [tunnel] = await found(1);
  expect(tunnel?.decision).toMatchObject({
    kind: "connect",
    verdict: "allow",
    handling: "tcp",
    host: "git.test",
    port: origin.port,
    rule: { id: "tcp[0]", reason: "clones" },
    addresses: ["127.0.0.1"],
  });
  expect(tunnel?.completion).toMatchObject({
    address: "127.0.0.1",
    bytesUp: 21,
    bytesDown: expect.any(Number),
  });
  expect(tunnel?.completion?.["bytesDown"]).toBeGreaterThanOrEqual(BANNER.length + 21);
});

test.each(WAYS)("%s: octets sent with the request are passed behind it", async (_, open) => {
  const { wire } = await open("git.test", origin.port, "early");
  await wire.until(() => wire.held.endsWith("early"));
  expect(wire.held).toBe(`${BANNER}early`);
  await wire[Symbol.asyncDispose]();
});

test("nothing is answered before the origin is connected to", async () => {
  const closed = await recordingOrigin();
  const { port } = closed;
  await closed[Symbol.asyncDispose]();
  expect(await proxy.reconfigure(yaml(rules(port)))).toBe(true);
  expect((await WAYS[0]![1]("git.test", port)).opened).toBe("upstream-refused");
  expect((await WAYS[1]![1]("git.test", port)).opened).toBe(5);
  const [first] = await found(2);
  expect(first?.decision).toMatchObject({ verdict: "allow", handling: "tcp" });
  expect(first?.completion).toMatchObject({ outcome: "fault", reason: "upstream-refused" });
});

test.each(WAYS)("%s: what no rule names is not passed", async (_, open, told) => {
  const cases = [
    ["git.test", other.port, "host-not-allowed"],
    ["x.git.test", origin.port, "host-not-allowed"],
    ["denied.test", origin.port, "host-denied"],
    ["inner.test", origin.port, "address-loopback"],
    ["metadata.test", 80, "address-metadata"],
    ["127.0.0.1", proxy.port, "address-own"],
    ["127.0.0.1", proxy.adminPort, "address-own"],
    ["127.0.0.2", origin.port, "address-literal"],
  ] as const;
  for (const [host, port, reason] of cases) {
    const { wire, opened } = await open(host, port);
    expect(opened, host).toBe(told === "code" ? 2 : reason);
    await wire[Symbol.asyncDispose]();
  }
  const reasons = (await found(cases.length)).map(({ decision }) => decision["reason"]);
  expect(reasons).toEqual(cases.map(([, , reason]) => reason));
  expect([origin.connections, other.connections]).toEqual([0, 0]);
});

test("a tcp rule opens nothing to HTTP", async () => {
  const wire = await dialPort(proxy.port);
  wire.write(`GET http://git.test:${origin.port}/ HTTP/1.1\r\nHost: git.test:${origin.port}\r\n\r\n`);
  expect((await wire.answer()).field("sallyport-reason")).toBe("host-not-allowed");
  // Nor does it lend its networks to one that is allowed.
  await proxy.reconfigure(
    yaml(
      rules().replace(
        "allow: [{ host: both.test, networks: [127.0.0.0/8] }]",
        "allow: [{ host: both.test }]",
      ),
    ),
  );
  wire.write(`GET http://both.test:${origin.port}/ HTTP/1.1\r\nHost: both.test:${origin.port}\r\n\r\n`);
  expect((await wire.answer()).field("sallyport-reason")).toBe("address-loopback");
  expect(origin.connections).toBe(0);
  await wire[Symbol.asyncDispose]();
});

test("half-closed as its ends are", async () => {
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    let octets = 0;
    socket.on("data", (chunk: Buffer) => (octets += chunk.length));
    socket.on("end", () => socket.end(`got ${octets}${"x".repeat(500_000)}`));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await proxy.reconfigure(yaml(rules(port)));
  for (const [, open] of WAYS) {
    const { wire } = await open("git.test", port, "12345");
    wire.socket.end();
    const rest = await wire.rest();
    expect([rest.slice(0, 6), rest.length]).toEqual(["got 5x", 500_005]);
    await wire[Symbol.asyncDispose]();
  }
  server.close();
});

test("cut where the rule is gone, where it is to be read from now on, and where its address is", async () => {
  const changes = [
    (text: string) => text.replace("git.test, ports", "gone.test, ports"),
    (text: string) =>
      text
        .replace("allow: [", "allow: [{ host: git.test, methods: [GET], ports: [1] }, ")
        .replace("deny: [", "deny: [{ host: git.test, methods: [PUT], ports: [1] }, ")
        .replace(/- \{ host: git.test, ports: \[\d+\]/, "- { host: git.test, ports: [2]"),
    (text: string) =>
      text
        .replace("host: git.test, ports", "host: other.test, ports")
        .replace("allow: [", "allow: [{ host: git.test, networks: [127.0.0.0/8] }, "),
    (text: string) => text.replace("networks: [127.0.0.0/8], reason", "networks: [10.0.0.0/8], reason"),
  ];
  for (const change of changes) {
    await proxy.reconfigure(yaml(rules()));
    const { wire, opened } = await WAYS[0]![1]("git.test", origin.port);
    expect(opened).toBe("open");
    await wire.until(() => wire.held !== "");
    expect(await proxy.reconfigure(yaml(change(rules())))).toBe(true);
    await wire.until(() => false);
    await wire[Symbol.asyncDispose]();
  }
  const reasons = (await found(changes.length)).map(({ completion }) => completion?.["reason"]);
  expect(reasons).toEqual(changes.map(() => "policy-changed"));
});

test("silence is ended", async () => {
  await proxy.reconfigure(yaml(rules(), ", tunnel_idle: 300ms"));
  const { wire } = await WAYS[1]![1]("git.test", origin.port);
  await wire.until(() => false);
  expect((await found(1))[0]?.completion).toMatchObject({ outcome: "completed" });
});
