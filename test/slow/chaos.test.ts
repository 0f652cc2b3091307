// Sandboxes and origins that do everything wrong at random moments, many at once. Afterwards nothing may be open or under
// way, the log holds and has both records of every exchange, and the proxy has met nothing that it calls its own defect.

import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { verifyAudit } from "../../src/audit/verify.ts";
import { auditRecords } from "../support/audit-records.ts";
import { type Child, startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { generator } from "./generator.ts";

const SEED: number = Number(process.env["SALLYPORT_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const SANDBOXES = 40;
const CONNECTIONS = 1_500;
const random = generator(SEED);
const chance = (share: number): boolean => random() < share;
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
const upTo = (most: number): number => Math.floor(random() * most);

test(`${CONNECTIONS} connections, seed ${SEED}`, async () => {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-chaos-"));
  const ca = createCa();
  const names = ["origin.test", "spliced.test"];
  await using plain = await recordingOrigin();
  await using secure = await recordingOrigin(ca.issue({ names }));
  await using unproved = await recordingOrigin(createCa().issue({ names }));
  for (const origin of [plain, secure, unproved]) origin.behave(misbehave);
  await writeFile(join(directory, "origin.pem"), ca.cert);
  await writeConfig(
    directory,
    `
upstream: { trust: [origin.pem], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1] }, pool: { idle: 200ms } }
anonymous: default
policies:
  default:
    preset: none
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, { host: spliced.test, networks: [127.0.0.0/8] }]
    splice: [spliced.test]
limits: { head_time: 500ms, idle: 500ms, handshake: 500ms, body_idle: 500ms, tunnel_idle: 500ms, connect: 1s,
  response_head: 500ms, drain: 2s }
`,
  );
  const child = await startChild(directory);
  const trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
  const ports = [plain.port, secure.port, unproved.port];
  let left = CONNECTIONS;
  await Promise.all(
    Array.from({ length: SANDBOXES }, async () => {
      while (left-- > 0) await misuse(child, { trustAnchor, ports, id: left }).catch(() => {});
    }),
  );

  const gauge = async (name: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${child.adminPort}/metrics`)).text();
    return [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"))].reduce(
      (sum, [, value]) => sum + Number(value),
      0,
    );
  };
  for (const name of ["connections_open", "exchanges_in_flight", "upstream_connections_open"])
    await expect
      .poll(() => gauge(`sallyport_${name}`), { timeout: 10_000, message: `${name}, seed ${SEED}` })
      .toBe(0);
  child.signal("SIGTERM");
  expect(await child.ended, child.log.slice(-5).join("\n")).toBe(0);
  const audit = join(directory, "data", "audit");
  expect(await verifyAudit({ from: { directory: audit } })).toMatchObject({
    ok: true,
    warnings: [],
    openDecisions: 0,
  });
  const records = await auditRecords(audit);
  const ids = (type: string): string[] =>
    records
      .flatMap((one) => (one.type === type ? [String(one["id"])] : []))
      .toSorted((a, b) => a.localeCompare(b));
  expect(new Set(ids("decision")).size).toBe(ids("decision").length);
  expect(ids("completion")).toEqual(ids("decision"));
  const allowed = new Set(
    records.flatMap((one) => (one["verdict"] === "allow" ? [String(one["path"])] : [])),
  );
  const seen = [plain, secure].flatMap(({ received }) =>
    [...received.matchAll(/(?:GET|POST|HEAD) (\/id-\d+-\d+) HTTP/g)].map(([, path]) => path ?? ""),
  );
  expect(seen.length).toBeGreaterThan(CONNECTIONS / 20);
  expect(
    seen.filter((path) => !allowed.has(path)),
    `seed ${SEED}`,
  ).toEqual([]);
  // Only what was passed unread may have come to an origin that cannot be proved.
  expect(unproved.received.includes("/id-")).toBe(false);
  expect(records.filter((one) => one["reason"] === "internal-error")).toEqual([]);
  expect(child.log.filter((line) => /"level":(?:50|60|"error"|"fatal")/.test(line))).toEqual([]);
  const reasons = Object.groupBy(
    records.filter((one) => one["reason"] !== undefined),
    (one) => String(one["reason"]),
  );
  process.stdout.write(
    `${CONNECTIONS} connections, seed ${SEED}: ${seen.length} requests seen by origins, ${records.length} records; ` +
      `${Object.entries(reasons)
        .map(([reason, all]) => `${reason} ${all?.length}`)
        .join(", ")}\n`,
  );
  await rm(directory, { recursive: true });
});

type Aim = { readonly trustAnchor: string; readonly ports: readonly number[]; readonly id: number };

/** One connection's life: into a tunnel or not, a few messages cut up at random, and one of many ends. */
async function misuse(child: Child, { trustAnchor, ports, id }: Aim): Promise<void> {
  const raw = connect({ port: child.port, host: "127.0.0.1", allowHalfOpen: chance(0.3) });
  raw.on("error", () => {});
  await once(raw, "connect");
  let socket: Socket | TLSSocket = raw;
  const way = pick(["plain", "plain", "tunnel", "tunnel", "splice", "rubbish"]);
  const host = way === "splice" ? "spliced.test" : "origin.test";
  const authority = `${host}:${way === "plain" ? ports[0] : pick(ports)}`;
  if (way === "rubbish") {
    raw.write(Buffer.from(Array.from({ length: 1 + upTo(200) }, () => upTo(256))));
  } else if (way !== "plain") {
    await cutUp(raw, `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    if (chance(0.1)) return end(raw);
    await Promise.race([once(raw, "data"), sleep(1_000)]);
    if (chance(0.1)) await cutUp(raw, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "x".repeat(upTo(100)));
    const secured = connectTls({ socket: raw, servername: host, ca: trustAnchor, rejectUnauthorized: false });
    secured.on("error", () => {});
    socket = secured;
    if (chance(0.1)) return end(pick([raw, secured]));
    await Promise.race([once(secured, "secureConnect"), once(secured, "close"), sleep(1_500)]);
  }
  if (chance(0.9)) socket.on("data", () => {});
  for (let message = 0; message < 1 + upTo(4) && !socket.destroyed; message++) {
    // What passes unread has no path that a record could hold.
    const path = `/${way === "splice" ? "unread" : "id"}-${id}-${message}`;
    const octets = request(way === "plain" ? `http://${authority}` : "", { authority, path });
    const whole = await cutUp(socket, octets);
    // What comes next would be a part of this one's body, or pass unread.
    if (!whole || octets.endsWith(SHORT) || octets.includes("Upgrade:") || octets.includes("Expect:")) break;
    if (chance(0.5)) await Promise.race([once(socket, "data").catch(() => {}), sleep(upTo(300))]);
  }
  await end(socket);
}

function request(prefix: string, { authority, path }: { authority: string; path: string }): string {
  const head = (method: string, fields = ""): string =>
    `${method} ${prefix}${path} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`;
  const body = "x".repeat(upTo(100_000));
  return pick([
    () => head("GET"),
    () => head("GET", "Connection: close\r\n"),
    () => head("HEAD"),
    () => head("POST", `Content-Length: ${body.length}\r\n`) + body,
    () => head("POST", `Content-Length: ${body.length + 100}\r\n`) + body + SHORT,
    () =>
      `${head("POST", "Transfer-Encoding: chunked\r\n")}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    () => `${head("POST", "Transfer-Encoding: chunked\r\n")}1ffff\r\n${body}${SHORT}`,
    () => `${head("POST", "Transfer-Encoding: chunked\r\n")}zz\r\n${body}`,
    () =>
      head("POST", `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n`) + (chance(0.5) ? body : ""),
    () => head("GET", "Connection: upgrade\r\nUpgrade: websocket\r\n") + body.slice(0, 100),
    () => head("GET").slice(0, upTo(60)),
    () => "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n",
    () => head("GET", `X: ${"y".repeat(upTo(80_000))}\r\n`),
    () => head("CONNECT"),
    () => "\r\n\r\n\0\0",
  ])();
}

const SHORT = "short";

/** Writes it in up to four pieces, some of them late, and sometimes not all. */
async function cutUp(socket: Socket | TLSSocket, octets: string): Promise<boolean> {
  let at = 0;
  for (let piece = 0; piece < 3 && at < octets.length && chance(0.5); piece++) {
    const to = at + 1 + upTo(octets.length - at);
    socket.write(octets.slice(at, to), "latin1");
    at = to;
    if (chance(0.3)) await sleep(upTo(50));
  }
  if (chance(0.05)) return false;
  socket.write(octets.slice(at), "latin1");
  return true;
}

async function end(socket: Socket | TLSSocket): Promise<void> {
  const how = pick(["leave", "destroy", "reset", "half", "wait"]);
  if (how === "half") socket.end();
  if (how === "half" || how === "wait")
    await Promise.race([once(socket, "close").catch(() => {}), sleep(1_500)]);
  if (how === "reset" && "resetAndDestroy" in socket && !("encrypted" in socket)) socket.resetAndDestroy();
  else if (how === "leave") socket.destroySoon();
  else socket.destroy();
  // Nobody waits for the other side for good.
  setTimeout(() => socket.destroy(), 3_000).unref();
}

/** An origin's side of a connection. */
function misbehave(socket: Socket | TLSSocket): void {
  if (chance(0.05)) return void socket.destroy();
  if (chance(0.03)) return void socket.end();
  socket.on("data", () => {
    const act = pick([
      () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"),
      () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"),
      () =>
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\nX: y\r\n\r\n"),
      () => socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
      () => socket.write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello"),
      () => socket.end("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
      () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut"),
      () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstalls"),
      () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\nand more"),
      () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n${"x".repeat(3_000_000)}`),
      () => socket.write("rubbish"),
      () => socket.destroy(),
      () => ("encrypted" in socket ? socket.destroy() : socket.resetAndDestroy()),
      () => socket.pause(),
      () => {},
    ]);
    if (chance(0.3)) setTimeout(act, upTo(100));
    else act();
  });
}
