// The PROXY protocol: believed from balancers, in whole and in time; from anybody else it is no request.

import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { binaryHeader, textHeader } from "../support/ways/proxy-header.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { dialPort } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

let origin: RecordingOrigin;
let proxy: RunningSallyport;
let recorded = 0;

const yaml = (balancers: string, more = ""): string => `
upstream: { hosts: { origin.test: [127.0.0.1] } }
proxy_protocol: ${balancers}
limits: { drain: 1s, head_time: 500ms, connections: 8, connections_per_source: 3 }
policies: { default: { methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
${more === "" ? "anonymous: default" : more}
`;

beforeAll(async () => {
  origin = await recordingOrigin();
  proxy = await runSallyport(yaml("[127.0.0.0/8]"));
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(async () => {
  expect(await proxy.reconfigure(yaml("[127.0.0.0/8]"))).toBe(true);
  recorded = (await proxy.recorded(settled)).length;
  origin.reset();
});

const found = async (enough: number) => {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(recorded)).length >= enough,
  );
  return exchanges(all.slice(recorded));
};
const request = (): string =>
  `GET http://origin.test:${origin.port}/ HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`;

describe("from a balancer", () => {
  test.each<[string, string | Buffer, RegExp]>([
    ["version 1", textHeader("198.51.100.7"), /^198\.51\.100\.7:5000$/],
    ["version 1, IPv6", textHeader("2001:db8::7"), /^\[2001:db8::7\]:5000$/],
    ["version 2", binaryHeader(), /^198\.51\.100\.7:5000$/],
    ["its own (v1)", "PROXY UNKNOWN\r\n", /^127\.0\.0\.1:/],
    ["its own (v2)", binaryHeader({ command: 0 }), /^127\.0\.0\.1:/],
  ])("%s: the source is on record", async (_, header, source) => {
    await using wire = await dialPort(proxy.port);
    wire.write(Buffer.concat([Buffer.from(header as string, "latin1"), Buffer.from(request())]));
    expect((await wire.answer()).status).toBe(200);
    expect((await found(1))[0]?.decision["source"]).toMatch(source);
    expect(origin.received).not.toMatch(/198\.51|2001:db8/);
  });

  test("octet by octet, and SOCKS5 behind it", async () => {
    await using slow = await dialPort(proxy.port);
    for (const octet of Buffer.from(textHeader("198.51.100.7") + request())) {
      slow.write(Buffer.from([octet]));
      await new Promise(setImmediate);
    }
    expect((await slow.answer()).status).toBe(200);
    await using wire = await dialPort(proxy.port);
    wire.write(binaryHeader());
    expect(await socks5(wire, { host: "origin.test", port: origin.port })).toBe(0);
  });

  test.each<[string, string | Buffer, string]>([
    ["none", "GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n", "proxy-header-malformed"],
    ["a malformed one", "PROXY TCP4 a b 1 2\r\n", "proxy-header-malformed"],
    ["half of one", "PROXY TCP4 198.51", "request-timeout"],
    ["silence", "", "request-timeout"],
  ])("%s: closed without a word, and recorded", async (_, sent, reason) => {
    await using wire = await dialPort(proxy.port);
    wire.write(sent);
    expect(await wire.rest()).toBe("");
    const [refused] = await found(1);
    expect(refused?.decision).toMatchObject({ kind: "malformed", verdict: "deny", reason });
    expect(origin.connections).toBe(0);
  });

  test("a second header is no request", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(textHeader("198.51.100.7") + textHeader("203.0.113.9") + request());
    const answer = await wire.answer();
    expect(answer.status).toBe(400);
    expect((await found(1))[0]?.decision).toMatchObject({ kind: "malformed", source: "198.51.100.7:5000" });
    expect(origin.connections).toBe(0);
  });

  test("a balancer that only looks leaves no record", async () => {
    const wire = await dialPort(proxy.port);
    wire.socket.end();
    await wire.until(() => false);
    await wire[Symbol.asyncDispose]();
    await using next = await dialPort(proxy.port);
    next.write(textHeader("198.51.100.7") + request());
    await next.answer();
    expect(await found(1)).toHaveLength(1);
  });

  test("to name 127.0.0.1 opens nothing", async () => {
    await proxy.reconfigure(
      yaml("[127.0.0.0/8]", "sandboxes: [{ id: a, secret: aaaaaaaaaaaaaaaa, policy: default }]"),
    );
    await using wire = await dialPort(proxy.port);
    wire.write(textHeader("127.0.0.1") + request());
    expect((await wire.answer()).field("sallyport-reason")).toBe("credentials-missing");
  });

  test("the bound on connections is each source's, and those that say nothing yet have their part of all", async () => {
    const open = async (source: string) => {
      const wire = await dialPort(proxy.port);
      wire.write(textHeader(source) + request());
      return { wire, status: (await wire.answer()).status };
    };
    const first = await Promise.all(["198.51.100.7", "198.51.100.7", "198.51.100.7"].map(open));
    expect(first.map(({ status }) => status)).toEqual([200, 200, 200]);
    const more = await open("198.51.100.7");
    expect(more.status).toBe(503);
    const others = await Promise.all(["203.0.113.1", "203.0.113.2"].map(open));
    expect(others.map(({ status }) => status)).toEqual([200, 200]);
    for (const { wire } of [...first, more, ...others]) await wire[Symbol.asyncDispose]();
    const silent = await Promise.all(Array.from({ length: 8 }, () => dialPort(proxy.port)));
    const turned = await dialPort(proxy.port);
    await turned.until(() => turned.held.includes("\r\n\r\n"));
    expect(turned.held).toContain("too-many-connections");
    for (const wire of [...silent, turned]) {
      await wire.until(() => false);
      await wire[Symbol.asyncDispose]();
    }
  });

  test("guesses count for the source that it names", async () => {
    await proxy.reconfigure(
      yaml("[127.0.0.0/8]", "sandboxes: [{ id: a, secret: aaaaaaaaaaaaaaaa, policy: default }]"),
    );
    const asking = async (source: string, secret: string) => {
      await using wire = await dialPort(proxy.port);
      const field = `Proxy-Authorization: Basic ${Buffer.from(`a:${secret}`).toString("base64")}\r\n`;
      wire.write(textHeader(source) + request().replace("\r\n\r\n", `\r\n${field}\r\n`));
      return (await wire.answer()).status;
    };
    for (let tries = 0; tries < 12; tries++) expect(await asking("198.51.100.66", "wrong")).toBe(407);
    expect(await asking("198.51.100.66", "aaaaaaaaaaaaaaaa")).toBe(407);
    expect(await asking("198.51.100.67", "aaaaaaaaaaaaaaaa")).toBe(200);
  });
});

const hasIPv6 = Object.values(networkInterfaces()).some((list) =>
  list?.some(({ address }) => address === "::1"),
);
test.runIf(hasIPv6)("a balancer is known on a listener for both families, too", async () => {
  await using both = await runSallyport(yaml("[127.0.0.0/8]"), `["[::]:0"]`);
  await using wire = await dialPort(both.port);
  wire.write(textHeader("198.51.100.7") + request());
  expect((await wire.answer()).status).toBe(200);
  const records = exchanges(await both.recorded(settled));
  expect(records[0]?.decision["source"]).toBe("198.51.100.7:5000");
});

test.each(["[]", "[10.0.0.0/8, 2001:db8::/32]"])(
  "from nobody's balancer (%s) it is malformed",
  async (balancers) => {
    await proxy.reconfigure(yaml(balancers));
    for (const header of [textHeader("198.51.100.7"), binaryHeader()]) {
      await using wire = await dialPort(proxy.port);
      wire.write(Buffer.concat([Buffer.from(header as string, "latin1"), Buffer.from(request())]));
      expect((await wire.answer()).status).toBe(400);
    }
    const records = await found(2);
    expect(records.map(({ decision }) => decision["kind"])).toEqual(["malformed", "malformed"]);
    for (const { decision } of records) expect(decision["source"]).toMatch(/^127\.0\.0\.1:/);
    expect(origin.connections).toBe(0);
  },
);
