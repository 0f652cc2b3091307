// SOCKS5 by somebody who means harm: methods that would get around credentials, names that could be read in two ways, commands that
// open what nobody could judge, and connections that are left half open.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { dialPort, type Wire } from "../proxy/wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { NO_CREDENTIALS, socks5Request, userPassword } from "../support/ways/socks5.ts";

let origin: RecordingOrigin;
let open: RunningSallyport;
let locked: RunningSallyport;

beforeAll(async () => {
  origin = await recordingOrigin();
  const rules = `
upstream: { hosts: { origin.test: [127.0.0.1] } }
limits: { drain: 1s, handshake: 1s, head_time: 1s }
policies:
  default:
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, 127.0.0.1, "::1", "fe80::1"]
    tcp: [{ host: origin.test, ports: [1], networks: [127.0.0.0/8] }]
`;
  open = await runSallyport(`${rules}anonymous: default\n`);
  locked = await runSallyport(
    `${rules}sandboxes: [{ id: ci, secret: secret-of-ci-1234, policy: default }]\n`,
  );
});
afterAll(async () => {
  for (const one of [open, locked, origin]) await one[Symbol.asyncDispose]();
});
beforeEach(() => origin.reset());

const request = (): string => `GET / HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`;
const connect = (): Buffer => socks5Request("origin.test", origin.port);
/** All that is answered to these octets. */
async function told(proxy: RunningSallyport, ...sent: readonly Buffer[]): Promise<number[]> {
  await using wire = await dialPort(proxy.port);
  wire.write(Buffer.concat(sent));
  return [...Buffer.from(await wire.rest(), "latin1")];
}

describe("no method gets around credentials", () => {
  const greeting = (...methods: number[]): Buffer => Buffer.from([5, methods.length, ...methods]);
  const every = (but: readonly number[]): number[] =>
    Array.from({ length: 255 }, (_, at) => at).filter((at) => !but.includes(at));
  test.each<[string, Buffer, readonly number[]]>([
    ["none", greeting(0), [5, 0xff]],
    ["GSSAPI", greeting(1), [5, 0xff]],
    ["the one that means no", greeting(0xff), [5, 0xff]],
    ["every one but a password", greeting(...every([2])), [5, 0xff]],
    ["private ones", greeting(0x80, 0xfe), [5, 0xff]],
    ["none, over and over", greeting(...Array.from({ length: 255 }, () => 0)), [5, 0xff]],
    ["a password, then none of it", greeting(0, 2), [5, 2, 1, 1]],
    ["a password among all others", greeting(...every([])), [5, 2, 1, 1]],
  ])("%s", async (_name, offered, answer) => {
    expect(await told(locked, offered, connect(), Buffer.from(request()))).toEqual(answer);
    expect(origin.connections).toBe(0);
  });

  test("a password that was not asked for is no request", async () => {
    const credentials = userPassword("ci", "secret-of-ci-1234");
    expect((await told(open, NO_CREDENTIALS, credentials, connect())).slice(0, 4)).toEqual([5, 0, 5, 1]);
    // Nor are two, of which the first is wrong.
    const wrong = userPassword("ci", "wrong");
    expect(await told(locked, Buffer.from([5, 1, 2]), wrong, credentials, connect())).toEqual([5, 2, 1, 1]);
    expect(origin.connections).toBe(0);
  });
});

describe("a name is read in one way, or not at all", () => {
  test.each([
    "::1",
    "[::1%lo]",
    "fe80::1%eth0",
    "[fe80::1%25eth0]",
    "[::ffff:127.0.0.1]",
    "127.0.0.1:80",
    "127.000.000.001",
    "127.0.0.1.",
    "origin.test:",
    "origin.test:80:",
    "origin.test/",
    "origin.test#",
    "origin.test?",
    "origin.test\\",
    "//origin.test",
    "http://origin.test",
    ":@origin.test",
    "%6frigin.test",
    " origin.test",
    "origin.test ",
    "origin.test\t",
    "origin.test\n",
    "\0origin.test",
    "origin.test\0",
    "origin\0.test",
    "origin..test",
    ".origin.test",
    "origin.test..",
    "*",
    "*.test",
    "origin.\xfeest",
    "origin\xad.test",
    "\xef\xbd\x8frigin.test",
    "xn--a",
    "x".repeat(255),
    `${"a.".repeat(127)}a`,
    ".",
    "-",
    "0",
  ])("%j", async (name) => {
    const before = (await open.recorded(settled)).length;
    const octetsOfName = Buffer.from([5, 1, 0, 3, name.length, ...Buffer.from(name, "latin1")]);
    const port = Buffer.from([origin.port >> 8, origin.port & 0xff]);
    const answer = await told(open, NO_CREDENTIALS, octetsOfName, port, Buffer.from(request()));
    expect(answer.slice(0, 3)).toEqual([5, 0, 5]);
    expect([1, 2]).toContain(answer[3]);
    expect(answer).toHaveLength(12);
    expect(origin.connections).toBe(0);
    const records = (await open.recorded((all) => settled(all) && all.length > before + 1)).slice(before);
    const [refused] = exchanges(records);
    expect(refused?.decision).toMatchObject({ kind: "connect", verdict: "deny" });
    expect(refused?.decision["reason"]).toMatch(/^(authority-malformed|address-literal|host-not-allowed)$/);
  });
});

describe("what is no CONNECT opens nothing, whatever it names", () => {
  test.each([2, 3])("command %i", async (command) => {
    const before = (await open.recorded(settled)).length;
    for (const [host, port] of [
      ["0.0.0.0", 0],
      ["[::]", 0],
      ["127.0.0.1", 53],
      ["origin.test", 1],
      ["other.test", 443],
      ["origin\0.test", 443],
    ] as const) {
      const answer = await told(open, NO_CREDENTIALS, socks5Request(host, port, command));
      expect(answer).toEqual([5, 0, 5, 7, 0, 1, 0, 0, 0, 0, 0, 0]);
    }
    const fresh = (await open.recorded((all) => settled(all) && all.length > before)).slice(before);
    const verdicts = exchanges(fresh).map(({ decision }) => decision["verdict"]);
    expect(new Set(verdicts)).toEqual(new Set(["deny"]));
  });

  test.each([0, 4, 0x80, 0xf0, 0xf1, 0xff])("command %i is none", async (command) => {
    const answer = await told(open, NO_CREDENTIALS, socks5Request("origin.test", origin.port, command));
    expect(answer).toEqual([5, 0, 5, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
  });
});

describe("connections that are left half open", () => {
  const ended = async (...sent: readonly Buffer[]): Promise<Wire> => {
    const wire = await dialPort(open.port);
    wire.socket.end(Buffer.concat(sent));
    await wire.rest();
    return wire;
  };

  test("whoever has asked and has no more to say is answered", async () => {
    const wire = await ended(NO_CREDENTIALS, connect(), Buffer.from(request()));
    expect(wire.all.slice(12)).toMatch(/^HTTP\/1\.1 200 /);
    await wire.close();
  });

  test.each<[string, () => readonly Buffer[]]>([
    ["behind the greeting", () => [NO_CREDENTIALS]],
    ["in the request", () => [NO_CREDENTIALS, connect().subarray(0, 9)]],
    ["behind the request", () => [NO_CREDENTIALS, connect()]],
    ["in what is inside", () => [NO_CREDENTIALS, connect(), Buffer.from("GET / HT")]],
    ["in a ClientHello", () => [NO_CREDENTIALS, connect(), Buffer.from([0x16, 3, 1, 0, 200, 1])]],
  ])("one that ends %s is closed, and its records are whole", async (_name, sent) => {
    const wire = await ended(...sent());
    await wire.close();
    await open.recorded(settled);
    expect(origin.received).toBe("");
  });
});
