// A parent proxy that answers as it likes, sandboxes that spell a host so that it might take another way, and names that lead elsewhere
// each time they are asked for: nothing of the parent's words reaches a sandbox, its credentials reach nobody, and no way opens
// that was not judged.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createNameServer } from "../support/dns.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import {
  openTunnels,
  parentSays,
  recordingParent,
  type ParentBehaviour,
  type RecordingParent,
} from "../support/recording-parent.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, openTunnel, Wire } from "../proxy/wire.ts";

const PASSWORD = "pa@ss:w/ord%41";
const TOKEN = Buffer.from(`agent:${PASSWORD}`).toString("base64");
const SECRETS = [PASSWORD, encodeURIComponent(PASSWORD), TOKEN, "ss:w/ord"];
const ca = createCa();
const EMBEDDED = {
  mapped: "::ffff:10.1.2.3",
  "mapped, loopback": "::ffff:127.0.0.1",
  "mapped, metadata": "::ffff:169.254.169.254",
  compatible: "::10.1.2.3",
  translated: "::ffff:0:10.1.2.3",
  nat64: "64:ff9b::10.1.2.3",
  "nat64, local": "64:ff9b:1::10.1.2.3",
  "6to4": "2002:a01:203::1",
  teredo: "2001:0:a01:203::1",
  isatap: "2001:4860::5efe:10.1.2.3",
};
const inHex = (address: string): string =>
  address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (...[, a, b, c, d]) =>
    [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((group) => group.toString(16)).join(":"),
  );
const dns = await createNameServer({
  ...Object.fromEntries(
    Object.values(EMBEDDED).map((address, at) => [`embedded-${at}.test`, { aaaa: [inHex(address)] }]),
  ),
  "alias.test": { cname: "inside.example" },
  "inside.example": { a: ["10.1.2.3"] },
  "silent.test": "silent",
  "refused.test": "REFUSED",
  "empty.test": {},
});

let origin: RecordingOrigin;
let secure: RecordingOrigin;
let parent: RecordingParent;
let proxy: RunningSallyport;
const logged: string[] = [];

beforeAll(async () => {
  process.env["HOSTILE_PARENT_PASSWORD"] = PASSWORD;
  origin = await recordingOrigin();
  secure = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
  parent = await recordingParent();
  proxy = await runSallyport(
    `
limits: { drain: 100ms, dns: 600ms }
anonymous: default
upstream:
  trust: [${await trustFile(ca)}]
  resolvers: ["${dns.address}"]
  hosts: { origin.test: [127.0.0.1], straight.test: [127.0.0.1] }
  parent: "http://agent:\${HOSTILE_PARENT_PASSWORD}@127.0.0.1:${parent.port}"
  routes: [{ host: straight.test, parent: direct }, { host: 127.0.0.0/8, parent: direct }]
policies:
  default:
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, { host: straight.test, networks: [127.0.0.0/8] }, "**.test", 127.0.0.1]
`,
    undefined,
    undefined,
    logged,
  );
});
afterAll(async () => {
  for (const one of [proxy, dns, parent, origin, secure]) await one[Symbol.asyncDispose]();
});
beforeEach(async () => {
  parent.hangUp();
  while (!/^sallyport_upstream_connections_open 0$/m.test(await proxy.metrics()));
  for (const one of [parent, origin, secure]) one.reset();
  parent.behave(openTunnels());
});

/** One plain request; all that was answered until the connection closed. */
async function plain(authority: string, host = authority): Promise<string> {
  await using wire = await dialPort(proxy.port);
  wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  return await wire.rest();
}

/** One request inside a tunnel; what the CONNECT was answered where that is no 200. */
async function tunnelled(authority: string): Promise<string> {
  const tls = { servername: "origin.test", ca: proxy.trustAnchor };
  const wire = await openTunnel({ port: proxy.port, target: authority, tls });
  if (!(wire instanceof Wire)) return "head" in wire ? `${wire.head}\r\n\r\n${wire.body}` : String(wire);
  wire.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`);
  const answer = await wire.rest();
  wire.socket.destroy();
  return answer;
}

const reasonIn = (answer: string): string | undefined => /^sallyport-reason: (.*)\r$/im.exec(answer)?.[1];

describe("what the parent says stays with us", () => {
  const WORDS = "words-of-the-parent";
  const refusal = (head: string): string => `${head}\r\nContent-Length: ${WORDS.length}\r\n\r\n${WORDS}`;
  /** As a parent that wants them known would: everywhere that somebody might print. */
  const echo: ParentBehaviour = ({ head, socket }) => {
    const told = /^Proxy-Authorization: (.*)$/m.exec(head)?.[1] ?? "nothing";
    const said = `${told} ${PASSWORD} ${WORDS}`;
    socket.resume();
    socket.write(
      `HTTP/1.1 502 ${said}\r\nX: ${said}\r\nProxy-Status: ${said}\r\nContent-Length: ${said.length}\r\n\r\n${said}`,
    );
  };
  const again: ParentBehaviour = ({ socket }) => {
    socket.resume();
    for (let times = 0; times < 5; times++)
      socket.write("HTTP/1.1 407 Once more\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n");
  };
  test.each<[string, ParentBehaviour, string]>([
    [
      "407, for ever",
      parentSays(refusal(`HTTP/1.1 407 ${WORDS}\r\nProxy-Authenticate: Basic realm="${WORDS}"`)),
      "parent-auth-failed",
    ],
    ["407, five times at once", again, "parent-auth-failed"],
    [
      "a redirect to a page of its own",
      parentSays(refusal(`HTTP/1.1 302 Found\r\nLocation: http://${WORDS}.example/`)),
      "parent-refused",
    ],
    ["a redirect for good", parentSays(refusal("HTTP/1.1 308 No\r\nLocation: /")), "parent-refused"],
    [
      "a page, cookies and a policy",
      parentSays(refusal(`HTTP/1.1 403 No\r\nSet-Cookie: ${WORDS}=1\r\nRefresh: 0`)),
      "parent-refused",
    ],
    ["the credentials it was sent", echo, "parent-refused"],
    ["them, where no HTTP is", ({ head, socket }) => void socket.end(head), "parent-malformed"],
  ])("%s", async (_name, behaviour, reason) => {
    parent.behave(behaviour);
    for (const ask of [
      () => plain(`origin.test:${origin.port}`),
      () => tunnelled(`origin.test:${secure.port}`),
    ]) {
      parent.reset();
      const answer = await ask();
      expect(reasonIn(answer)).toBe(reason);
      expect(answer).toMatch(/^HTTP\/1\.1 50\d /);
      expect(answer).not.toMatch(new RegExp(`${WORDS}|proxy-authenticate|location:|set-cookie`, "i"));
      // It is asked once; what else it says, nobody reads.
      expect([parent.connections, parent.heads.length]).toEqual([1, 1]);
      for (const secret of SECRETS) expect(answer).not.toContain(secret);
    }
    const written = `${JSON.stringify(await proxy.records())}${await proxy.metrics()}${logged.join("")}`;
    for (const secret of [...SECRETS, WORDS]) expect(written).not.toContain(secret);
    expect([origin.connections, secure.connections]).toEqual([0, 0]);
  });

  test("what is logged, is logged (or the test above would say nothing)", () => {
    expect(logged.join("")).toContain("listening");
  });
});

describe("of many addresses it is asked for a few, and only where another may help", () => {
  const addresses = [1, 2, 3, 4, 5, 6].map((at) => `93.184.216.${at}`);
  test.each([
    ["403", 1],
    ["407", 1],
    ["408", 1],
    ["429", 1],
    ["302", 1],
    ["500", 4],
    ["502", 4],
    ["503", 4],
    ["504", 4],
    ["599", 4],
    ["abc", 1],
  ])("%s: %i", async (status, times) => {
    dns.zones.set("many.test", { a: addresses });
    parent.behave(parentSays(`HTTP/1.1 ${status} No\r\n\r\n`, { end: true }));
    expect(reasonIn(await plain(`many.test:${origin.port}`))).toMatch(/^parent-/);
    const asked = parent.heads.map((head) => /^CONNECT ([^:]+):/.exec(head)?.[1]);
    expect(asked).toEqual(addresses.slice(0, times));
  });
});

describe("a host that is spelled otherwise takes the same way, or none", () => {
  test.each([
    "straight.test",
    "STRAIGHT.test",
    "straight.test.",
    "sTrAiGhT.TEST.",
    "straight.test..",
    ".straight.test",
    "straight%2etest",
    "straight\u3002test",
    "ｓtraight.test",
    "straight.test@origin.test",
    "straight.test%00.origin.test",
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "2130706433",
    "127.0.0.01",
    "1%32%37.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1]",
    "[::1%25lo]",
    "localhost",
  ])("%j", async (host) => {
    const authority = `${Buffer.from(host, "utf8").toString("latin1")}:${origin.port}`;
    const answer = await plain(authority);
    const served = answer.startsWith("HTTP/1.1 200 ");
    expect(served).toBe(/^straight\.test\.?$|^127\.0\.0\.1$/i.test(host));
    if (!served) expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect([parent.connections, origin.connections]).toEqual([0, served ? 1 : 0]);
    expect(await tunnelled(authority)).not.toMatch(/^HTTP\/1\.1 200 /);
    expect(parent.connections).toBe(0);
  });
});

describe("names that lead where nobody may go", () => {
  const embedded = Object.keys(EMBEDDED).map((kind, at) => [kind, `embedded-${at}.test`] as const);
  test.each<readonly [string, string, RegExp]>([
    ...embedded.map(([kind, host]) => [kind, host, /^address-(embedded|loopback|metadata|own)$/] as const),
    ["an alias of a private one", "alias.test", /^address-private$/],
    ["a name server that is silent", "silent.test", /^dns-timeout$/],
    ["a name server that refuses", "refused.test", /^dns-failed$/],
    ["no address", "empty.test", /^dns-not-found$/],
  ])("%s: the parent hears nothing of it", async (_name, host, reason) => {
    expect(reasonIn(await plain(`${host}:${origin.port}`))).toMatch(reason);
    expect([parent.connections, parent.received]).toEqual([0, ""]);
  });

  test("one that leads elsewhere each time: the parent is told what was judged, and is asked again for nothing else", async () => {
    const host = "flip.test";
    const port = origin.port;
    dns.zones.set(host, { a: ["93.184.216.34", "93.184.216.35"], ttl: 0 });
    // Between the judgement and the last try it would lead inside.
    parent.behave(({ socket }) => {
      dns.zones.set(host, { a: ["10.1.2.3"], ttl: 0 });
      socket.end("HTTP/1.1 503 No\r\n\r\n");
    });
    dns.asked.length = 0;
    expect(reasonIn(await plain(`${host}:${port}`))).toBe("parent-refused");
    expect(parent.heads.map((head) => head.split("\r\n", 1)[0])).toEqual([
      `CONNECT 93.184.216.34:${port} HTTP/1.1`,
      `CONNECT 93.184.216.35:${port} HTTP/1.1`,
    ]);
    expect(dns.asked.filter((question) => question === `A ${host}`)).toHaveLength(1);
    parent.reset();
    expect(reasonIn(await plain(`${host}:${port}`))).toBe("address-private");
    expect(parent.connections).toBe(0);
  });
});
