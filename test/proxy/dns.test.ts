// The name server for sandboxes that have no other: what it answers, what it refuses and how, that each is on record, and
// that nobody is asked and nobody flooded.

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import { startResponder } from "../../src/proxy/dns.ts";
import { Occupancy } from "../../src/proxy/listener.ts";
import type { AuditRecord } from "../support/audit-records.ts";
import { createNameServer, type NameServer } from "../support/dns.ts";
import {
  type Answer,
  framed,
  labels,
  question,
  type QuestionOptions,
  readAnswer,
  u16,
} from "../support/dns-messages.ts";
import { createCa } from "../support/pki.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { type FaultBench, faultBench } from "./bench-of-faults.ts";
import { dialPort } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

const A = 1;
const PTR = 12;
const TXT = 16;
const AAAA = 28;
const HTTPS = 65;
const ANY = 255;
const NX = 3;
const REFUSED = 5;

let outside: NameServer;
let proxy: RunningSallyport;
let [port, bound, narrow] = [0, 0, 0];
let recorded: number;

beforeAll(async () => {
  outside = await createNameServer({ "origin.test": { a: ["127.0.0.1"] } });
  proxy = await runSallyport(`
anonymous: default
sandboxes: [{ id: ci-runner, secret: a-secret-of-the-runner, policy: runner }]
limits: { head_time: 3s }
upstream: { resolvers: ["${outside.address}"] }
transparent:
  - { listen: "127.0.0.1:0", port: 443 }
  - { listen: "127.0.0.1:0", port: 80 }
dns:
  - { listen: "127.0.0.1:0", answer: [10.0.0.1, fd00::1], questions_burst: 100000, questions: 100000 }
  - { listen: "127.0.0.1:0", answer: [10.0.0.1], ttl: 90s, sandbox: ci-runner }
  - { listen: "127.0.0.1:0", answer: [10.0.0.1], questions: 1, questions_burst: 5 }
policies:
  default:
    preset: none
    allow:
      - origin.test
      - "*.wild.test"
      - { host: secure.test, ports: [443] }
      - { host: plain.test, ports: [80] }
      - { host: odd.test, ports: [8443] }
      - { host: post.test, methods: [POST] }
      - 192.0.2.7
    deny: [bad.wild.test]
  runner: { preset: none, allow: [other.test] }
`);
  [port = 0, bound = 0, narrow = 0] = proxy.sallyport.dns.map((one) => one.port);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await outside[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
});

async function found(count: number): Promise<readonly { decision: AuditRecord; completion: AuditRecord }[]> {
  const fresh = (all: readonly AuditRecord[]) =>
    all.slice(recorded).filter(({ type }) => type !== "checkpoint");
  const all = await proxy.recorded((now) => exchanges(fresh(now)).length >= count && settled(fresh(now)));
  return exchanges(fresh(all)) as { decision: AuditRecord; completion: AuditRecord }[];
}

/** One socket, as a resolver has it. */
async function asker(local = 0): Promise<UdpSocket & Disposable> {
  const socket = createSocket("udp4");
  socket.bind(local, "127.0.0.1");
  await once(socket, "listening");
  return Object.assign(socket, { [Symbol.dispose]: () => void socket.close() });
}

/** What a message is answered with; a second one proves that nothing came, should the first be left unanswered. */
async function send(message: Buffer, to = port): Promise<Buffer> {
  using socket = await asker();
  socket.send(message, to, "127.0.0.1");
  const [answer] = (await once(socket, "message")) as [Buffer];
  return answer;
}

async function ask(name: string, options: QuestionOptions & { to?: number } = {}): Promise<Answer> {
  return readAnswer(await send(question(name, options), options.to));
}

describe("look-ups of hosts", () => {
  test("a permitted name is the transparent listeners'", async () => {
    expect(await ask("origin.test")).toMatchObject({
      rcode: 0,
      flags: 0x8180,
      addresses: ["10.0.0.1"],
      ttls: [5],
    });
    expect((await ask("origin.test", { type: AAAA })).addresses).toEqual([
      "fd000000000000000000000000000001",
    ]);
    expect((await ask("other.test", { to: bound })).ttls).toEqual([90]);
    const [asked] = await found(3);
    expect(asked?.decision).toMatchObject({
      kind: "dns",
      method: "A",
      host: "origin.test",
      verdict: "allow",
      stage: "connect",
      policy: "default",
      rule: { id: "allow[0]" },
    });
    expect(asked?.completion).toMatchObject({ outcome: "completed", bytesUp: 0, bytesDown: 12 + 17 + 16 });
    expect(outside.asked).toEqual([]);
  });

  test.each([
    ["a.wild.test", true],
    ["A.WILD.tEST", true],
    ["secure.test", true],
    ["plain.test", true],
    // What a POST alone may reach can be reached.
    ["post.test", true],
    ["sallyport.internal", true],
    ["wild.test", false],
    ["bad.wild.test", false],
    ["odd.test", false],
    ["other.test", false],
    ["secret-1.attacker.example", false],
    ["192.0.2.7", false],
    ["7.2.0.192.in-addr.arpa", false],
    ["_8443._https.origin.test", false],
    ["localhost", false],
    ["", false],
  ])("%s: %s", async (name, allowed) => {
    for (const type of [A, AAAA, HTTPS]) {
      const answer = await ask(name, { type });
      expect(answer.rcode).toBe(allowed ? 0 : NX);
      expect(answer.addresses.length).toBe(allowed && type !== HTTPS ? 1 : 0);
      // Case and all: what a resolver mixes in is how it knows its answer.
      expect(answer.question).toEqual(question(name, { type }).subarray(12));
    }
    for (const { decision, completion } of await found(3)) {
      expect(decision["verdict"]).toBe(allowed ? "allow" : "deny");
      expect(completion["outcome"]).toBe(allowed ? "completed" : "refused");
    }
    expect(outside.asked).toEqual([]);
  });

  test("a responder may be one sandbox's", async () => {
    expect((await ask("other.test", { to: bound })).rcode).toBe(0);
    expect((await ask("other.test", { to: bound, type: AAAA })).addresses).toEqual([]);
    expect((await ask("origin.test", { to: bound })).rcode).toBe(NX);
    for (const { decision } of await found(3))
      expect(decision).toMatchObject({ sandbox: "ci-runner", policy: "runner" });
  });

  test("a refusal says why, to whoever speaks EDNS", async () => {
    expect(await ask("attacker.example", { edns: {} })).toMatchObject({
      rcode: NX,
      error: { code: 15, text: "host-not-allowed" },
    });
    expect((await ask("attacker.example", { type: TXT, edns: {} })).error).toEqual({
      code: 21,
      text: "dns-type-not-allowed",
    });
  });
});

describe("everything else is refused, recorded, and asked of nobody", () => {
  test.each([
    ["TXT", TXT],
    ["MX", 15],
    ["SRV", 33],
    ["NULL", 10],
    ["CNAME", 5],
    ["NS", 2],
    ["SOA", 6],
    ["AXFR", 252],
    ["IXFR", 251],
    ["ANY", ANY],
    ["CAA", 257],
    ["TYPE65280", 65_280],
    ["TYPE0", 0],
  ])("%s", async (name, type) => {
    for (const host of ["origin.test", "secret.attacker.example"]) {
      const answer = await ask(host, { type });
      expect(answer).toMatchObject({ rcode: REFUSED, addresses: [] });
    }
    const all = await found(2);
    expect(all.map(({ decision }) => decision)).toMatchObject([
      { kind: "dns", method: name, host: "origin.test", verdict: "deny", reason: "dns-type-not-allowed" },
      { kind: "dns", method: name, host: "secret.attacker.example", reason: "dns-type-not-allowed" },
    ]);
    expect(outside.asked).toEqual([]);
  });

  test("an address's name: there is none, so that nobody waits for it", async () => {
    expect((await ask("1.0.0.10.in-addr.arpa", { type: PTR })).rcode).toBe(NX);
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({ method: "PTR", reason: "dns-type-not-allowed" });
  });

  test("another class", async () => {
    for (const of of [3, 254, 255])
      expect((await ask("origin.test", { class: of, type: TXT })).rcode).toBe(REFUSED);
    expect((await ask("origin.test", { class: 3 })).addresses).toEqual([]);
  });

  test("what is no plain question", async () => {
    expect(
      await ask("a.test", { counts: [2, 0, 0, 0], trailing: question("b.test").subarray(12) }),
    ).toMatchObject({
      id: 0x1234,
      rcode: 1,
    });
    expect((await ask("a.test", { flags: 0x2800 })).rcode).toBe(4);
    const pointer = Buffer.concat([u16(9, 0x0100, 1, 0, 0, 0), Buffer.from([0xc0, 0x0c]), u16(A, 1)]);
    expect(readAnswer(await send(pointer))).toMatchObject({ id: 9, rcode: 1 });
    for (const { decision } of await found(3))
      expect(decision).toMatchObject({ kind: "dns", verdict: "deny", reason: "dns-malformed" });
  });

  test("no answer is larger than its question by more than a little", async () => {
    for (const type of [A, AAAA, TXT, ANY]) {
      const asked = question("origin.test", { type, edns: { size: 4096 } });
      expect((await send(asked)).length).toBeLessThanOrEqual(asked.length + 30);
    }
  });
});

test("answers are not answered, nor what is too short, nor who asks from a service's port", async () => {
  using socket = await asker();
  const got: Buffer[] = [];
  socket.on("message", (message) => void got.push(message));
  for (const message of [
    question("origin.test", { flags: 0x8180 }),
    question("origin.test", { flags: 0xffff }),
    Buffer.alloc(0),
    Buffer.from("\x00\x01"),
    Buffer.alloc(11, 0xff),
  ])
    socket.send(message, port, "127.0.0.1");
  if (process.getuid?.() === 0) {
    using low = await asker(await lowPort());
    low.on("message", (message) => void got.push(message));
    low.send(question("origin.test", { id: 1 }), port, "127.0.0.1");
    await ask("origin.test");
  }
  socket.send(question("origin.test", { id: 2 }), port, "127.0.0.1");
  await once(socket, "message");
  expect(got.map((message) => readAnswer(message).id)).toEqual([2]);
  expect(await proxy.metrics()).toMatch(/sallyport_malformed_total\{reason="dns-malformed"\} [1-9]/);
});

/** A free one below 1024. */
async function lowPort(): Promise<number> {
  for (let port = 900; port < 1_000; port++) {
    const socket = createSocket("udp4");
    const free = await new Promise<boolean>((resolve) => {
      socket.once("error", () => resolve(false));
      socket.bind(port, "127.0.0.1", () => resolve(true));
    });
    socket.close();
    if (free) return port;
  }
  throw new Error("no low port is free");
}

test("two responders do not talk to each other", async () => {
  // Whatever the one says reaches the other as if the other had asked: each answer is a dead end.
  const answers = [
    await send(question("origin.test")),
    await send(question("attacker.example", { type: TXT })),
    await send(question("a.test", { counts: [2, 0, 0, 0] })),
  ];
  using socket = await asker();
  for (const answer of answers) socket.send(answer, port, "127.0.0.1");
  socket.send(question("origin.test", { id: 77 }), port, "127.0.0.1");
  const [answer] = (await once(socket, "message")) as [Buffer];
  expect(readAnswer(answer).id).toBe(77);
});

test("a flood is bounded: not answered, not recorded, counted", async () => {
  using socket = await asker();
  const got: Buffer[] = [];
  socket.on("message", (message) => void got.push(message));
  for (let id = 0; id < 50; id++)
    socket.send(question(`${id}.attacker.example`, { id }), narrow, "127.0.0.1");
  await expect.poll(() => proxy.metrics()).toMatch(/sallyport_limits_total\{reason="dns-flood"\} 4[0-5]\n/);
  await expect.poll(() => got.length).toBeGreaterThanOrEqual(5);
  expect(got.length).toBeLessThanOrEqual(10);
  const all = await proxy.recorded(settled);
  const names = all.filter(({ host }) => typeof host === "string" && /^\d+\.attacker\.example$/.test(host));
  expect(names.length).toBe(got.length);
  // Who asks over TCP is over the same bound.
  await using wire = await dialPort(narrow);
  for (let id = 0; id < 20; id++) wire.write(framed(question("attacker.example", { id })));
  await wire.rest();
  expect(wire.all.length).toBeLessThan(20 * 30);
});

test("whatever a name holds, a record is one line of printable ASCII, and no label of a metric", async () => {
  const hostile = Buffer.from('\x0e\n{"seq":1}\x1b[2J\x00\u0085\x04\\".x\x07attackr\x00', "latin1");
  const name = Buffer.concat([Buffer.from([hostile.indexOf(0x04, 5) - 1]), hostile.subarray(1)]);
  await send(question(name));
  const [refused] = await found(1);
  expect(refused?.decision["host"]).toMatch(/^\\010\{"seq":1\}\\027\[2J\\000\\133/);
  const audit = join(proxy.directory, "data", "audit");
  for (const file of (await readdir(audit)).filter((one) => one.endsWith(".jsonl"))) {
    const text = await readFile(join(audit, file), "latin1");
    expect(text).toMatch(/^[\x20-\x7e\n]+$/);
    for (const line of text.trimEnd().split("\n")) expect(() => JSON.parse(line)).not.toThrow();
  }
  expect(await proxy.metrics()).not.toMatch(/attackr|attacker|origin\.test/);
});

describe("over TCP", () => {
  let narrowed: RunningSallyport;
  let quick = 0;
  beforeAll(async () => {
    narrowed = await runSallyport(`
anonymous: default
limits: { head_time: 1s, connections_per_source: 2 }
dns: { listen: "127.0.0.1:0", answer: [10.0.0.1] }
policies: { default: { preset: none, allow: [origin.test] } }
`);
    quick = narrowed.sallyport.dns[0]?.port ?? 0;
  });
  afterAll(() => narrowed[Symbol.asyncDispose]());

  test("questions one after another, in every split", async () => {
    const both = Buffer.concat([
      framed(question("origin.test", { id: 1 })),
      framed(question("attacker.example", { id: 2, type: TXT })),
    ]);
    for (let at = 1; at < both.length; at += 7) {
      await using wire = await dialPort(port);
      wire.write(both.subarray(0, at));
      await new Promise(setImmediate);
      wire.write(both.subarray(at));
      await wire.until(() => messages(wire.all).length === 2);
      expect(messages(wire.all).map(({ id, rcode }) => [id, rcode])).toEqual([
        [1, 0],
        [2, REFUSED],
      ]);
    }
  });

  test("whoever ends its side behind the question is answered", async () => {
    await using wire = await dialPort(port);
    wire.socket.end(framed(question("origin.test")));
    await wire.rest();
    expect(messages(wire.all)).toMatchObject([{ rcode: 0, addresses: ["10.0.0.1"] }]);
  });

  test.each([
    ["no length", u16(0)],
    ["less than a header", Buffer.concat([u16(11), Buffer.alloc(11)])],
    ["more than a question", u16(1233)],
    ["more than a question, whole", Buffer.concat([u16(1233), Buffer.alloc(1233)])],
    ["more than a question, in front of one", Buffer.concat([u16(1233), framed(question("origin.test"))])],
    ["65535", u16(0xffff)],
    ["an answer", framed(question("origin.test", { flags: 0x8180 }))],
    ["HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
  ])("%s: closed without a word", async (_, octets) => {
    await using wire = await dialPort(port);
    wire.write(octets);
    await wire.rest();
    expect(wire.all).toBe("");
  });

  test("slowness has a bound", async () => {
    await using wire = await dialPort(port);
    const octets = framed(question("origin.test"));
    for (let at = 0; at < octets.length && !wire.ended && !wire.closed; at++) {
      wire.write(octets.subarray(at, at + 1));
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    await wire.rest();
    expect(wire.all).toBe("");
  });

  test("a connection is waited for from one question to the next, and not for all of them", async () => {
    const [answered, wire] = [[] as number[], await dialPort(quick)];
    for (let id = 1; id <= 3; id++) {
      wire.write(framed(question("origin.test", { id })));
      await wire.until(() => messages(wire.all).length === id);
      answered.push(messages(wire.all).length);
      await new Promise((resolve) => setTimeout(resolve, 600));
    }
    expect(answered).toEqual([1, 2, 3]);
    await wire.rest();
    await wire[Symbol.asyncDispose]();
  });

  test("connections count as any other's", async () => {
    const held = [await dialPort(quick), await dialPort(quick)];
    for (const wire of held) {
      wire.write(framed(question("origin.test")));
      await wire.until(() => messages(wire.all).length === 1);
    }
    const turned = connect(quick, "127.0.0.1").on("error", () => {});
    turned.on("data", (octets: Buffer) => expect(octets).toHaveLength(0));
    turned.write(framed(question("origin.test")));
    await new Promise((resolve) => turned.once("close", resolve));
    expect(await narrowed.metrics()).toMatch(/sallyport_limits_total\{reason="too-many-connections"\} 1\n/);
    for (const wire of held) await wire[Symbol.asyncDispose]();
  });

  test("who leaves, in any way, leaves nothing behind", async () => {
    for (const octets of [Buffer.alloc(0), u16(40), framed(question("origin.test"))]) {
      const socket = connect(port, "127.0.0.1").on("error", () => {});
      await once(socket, "connect");
      socket.write(octets);
      await new Promise(setImmediate);
      socket.resetAndDestroy();
    }
    await expect.poll(() => proxy.metrics()).toContain("sallyport_connections_open 0");
    await expect.poll(() => proxy.metrics()).toContain('sallyport_exchanges_in_flight{kind="dns"} 0');
  });
});

function messages(text: string): Answer[] {
  const octets = Buffer.from(text, "latin1");
  const all: Answer[] = [];
  for (let at = 0; at + 2 <= octets.length;) {
    const end = at + 2 + octets.readUInt16BE(at);
    if (end > octets.length) break;
    all.push(readAnswer(octets.subarray(at + 2, end)));
    at = end;
  }
  return all;
}

const hasIPv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);
test.runIf(hasIPv6).each(["[::1]:0", "[::]:0", "0.0.0.0:0", "localhost:0"])("on %s", async (listen) => {
  await using one = await runSallyport(
    `anonymous: default\ndns: { listen: "${listen}", answer: [fd00::1, 10.0.0.1] }\npolicies: { default: { preset: none, allow: [a.test] } }\n`,
  );
  const { port: to = 0 } = one.sallyport.dns[0] ?? {};
  const host = listen.startsWith("[") ? "::1" : "127.0.0.1";
  const socket = createSocket(host === "::1" ? "udp6" : "udp4");
  socket.send(question("a.test", { type: AAAA }), to, host);
  const [answer] = (await once(socket, "message")) as [Buffer];
  socket.close();
  expect(readAnswer(answer).addresses).toEqual(["fd000000000000000000000000000001"]);
  const tcp = connect(to, host);
  tcp.write(framed(question("a.test")));
  const [octets] = (await once(tcp, "data")) as [Buffer];
  tcp.destroy();
  expect(messages(octets.toString("latin1"))).toMatchObject([{ rcode: 0, addresses: ["10.0.0.1"] }]);
});

test("a new generation is asked from then on", async () => {
  const yaml = (host: string): string =>
    `anonymous: default\ndns: { listen: "127.0.0.1:0", answer: [10.0.0.1] }\npolicies: { default: { preset: none, allow: [${host}] } }\n`;
  await using one = await runSallyport(yaml("one.test"));
  const to = one.sallyport.dns[0]?.port ?? 0;
  expect((await ask("two.test", { to })).rcode).toBe(NX);
  expect(await one.reconfigure(yaml("two.test"))).toBe(true);
  expect((await ask("two.test", { to })).rcode).toBe(0);
  expect((await ask("one.test", { to })).rcode).toBe(NX);
});

test("without a policy for who says no name, only the proxy's own name is answered", async () => {
  await using one = await runSallyport('dns: { listen: "127.0.0.1:0", answer: [10.0.0.1] }\nsandboxes: []\n');
  const to = one.sallyport.dns[0]?.port ?? 0;
  expect((await ask("packages.npmjs.org", { to, edns: {} })).error?.text).toBe("credentials-missing");
  expect((await ask("sallyport.internal", { to })).rcode).toBe(0);
});

test("what it answers with is never dialed by the proxy (invariant 8)", async () => {
  await using one = await runSallyport(`
anonymous: default
upstream: { hosts: { origin.test: [127.9.9.9] } }
dns: { listen: "127.0.0.1:0", answer: [127.9.9.9] }
policies: { default: { preset: none, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
`);
  await using wire = await dialPort(one.port);
  wire.write("GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n");
  expect((await wire.answer()).field("Sallyport-Reason")).toBe("address-own");
});

/** So many questions a second. */
const responderOf = ({ parts }: Pick<FaultBench, "parts">, questions: number) =>
  startResponder(parts, {
    host: "127.0.0.1",
    port: 0,
    occupancy: new Occupancy(),
    answer: [parseAddress("10.0.0.1")!],
    ttlSeconds: 5,
    sandbox: undefined,
    ports: [443],
    questionsPerSecond: questions,
    questionBurst: questions,
  });

test("where no record can be written, that it failed is all that is answered (invariant 2)", async () => {
  await using bench = await faultBench(createCa());
  const responder = await responderOf(bench, 100);
  bench.hook = () => Promise.reject(new Error("no space"));
  for (const name of ["origin.test", "attacker.example"])
    expect(await ask(name, { to: responder.port })).toMatchObject({ rcode: 2, addresses: [] });
  bench.hook = () => {};
  expect(await ask("origin.test", { to: responder.port })).toMatchObject({
    rcode: 0,
    addresses: ["10.0.0.1"],
  });
  await responder.close();
});

test("questions whose records are not written yet are bounded: the rest is dropped and counted", async () => {
  await using bench = await faultBench(createCa());
  const responder = await responderOf(bench, 100_000);
  const written = Promise.withResolvers<void>();
  bench.hook = () => written.promise;
  using socket = await asker();
  const flood = /sallyport_limits_total\{reason="dns-flood"\} [1-9]/;
  // Until one is too many: what the kernel drops is not waited for.
  for (let id = 0; id < 10_000 && !flood.test(await bench.parts.metrics.exposition()); id += 20) {
    for (let at = 0; at < 20; at++) socket.send(question("origin.test", { id }), responder.port, "127.0.0.1");
    await new Promise(setImmediate);
  }
  await expect.poll(() => bench.parts.metrics.exposition()).toMatch(flood);
  expect(bench.entries).toHaveLength(1_024);
  written.resolve();
  await expect.poll(async () => (await ask("origin.test", { to: responder.port })).rcode).toBe(0);
  await responder.close();
});

test("a question's octets are read to their end, or not at all", async () => {
  expect(labels("origin.test")).toHaveLength(13);
  const asked = question("origin.test", { trailing: Buffer.from("smuggled") });
  expect(readAnswer(await send(asked))).toMatchObject({ rcode: 1, addresses: [] });
});
