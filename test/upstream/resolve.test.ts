import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";

import type { Host } from "../../src/net/host.ts";
import { createResolver } from "../../src/upstream/resolve.ts";
import type { Resolver, ResolverOptions } from "../../src/upstream/resolve.ts";
import { createNameServer } from "../support/dns.ts";
import type { NameServer } from "../support/dns.ts";

const never = new AbortController().signal;
const host = (text: string) => text as Host;

function over(server: NameServer, options: Partial<ResolverOptions> = {}): Resolver {
  return createResolver({
    servers: [server.address],
    hostsFile: "/nonexistent",
    timeoutMs: 2_000,
    ...options,
  });
}

const ask = (resolver: Resolver, name: string, asker?: string) => resolver.resolve(host(name), never, asker);

describe("without a question", () => {
  test.each([
    ["192.0.2.1", ["192.0.2.1"]],
    ["2001:db8::1", ["2001:db8::1"]],
    ["static.example", ["192.0.2.7", "2001:db8::7"]],
    ["localhost", ["127.0.0.1", "::1"]],
    ["any.localhost", ["127.0.0.1", "::1"]],
    ["listed.example", ["192.0.2.8"]],
  ])("%s", async (name, addresses) => {
    const directory = mkdtempSync(join(tmpdir(), "sallyport-hosts-"));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const hostsFile = join(directory, "hosts");
    writeFileSync(hostsFile, "192.0.2.8 listed.example static.example\n");
    await using server = await createNameServer({});
    const hosts = { "Static.Example": ["192.0.2.7", "2001:DB8::7"] };
    expect(await ask(over(server, { hosts, hostsFile }), name)).toEqual(addresses);
    expect(server.asked).toEqual([]);
  });

  test.each([
    [{ "192.0.2.1": ["192.0.2.2"] }, "upstream.hosts: 192.0.2.1 is no host name"],
    [{ "a b": ["192.0.2.2"] }, "upstream.hosts: a b is no host name"],
    [{ "a.example": [] }, "upstream.hosts: a.example has no address"],
    [{ "a.example": ["b.example"] }, "upstream.hosts: a.example: b.example is no address"],
  ])("refuses static answers: %j", (hosts, message) => {
    expect(() => createResolver({ hosts, timeoutMs: 1 })).toThrow(message);
  });
});

describe("answers", () => {
  test.each([
    ["both.example", ["2001:db8::1", "192.0.2.1", "192.0.2.2"]],
    ["four.example", ["192.0.2.1"]],
    ["six.example", ["2001:db8::1"]],
    ["alias.example", ["192.0.2.1"]],
    ["six-fails.example", ["192.0.2.1"]],
    ["four-fails.example", ["2001:db8::1"]],
    ["six-silent.example", ["192.0.2.1"]],
    ["four-silent.example", ["2001:db8::1"]],
    ["twice.example", ["192.0.2.1"]],
    ["inside.example", ["::ffff:10.0.0.1", "10.0.0.1"]],
  ])("%s", async (name, addresses) => {
    await using server = await createNameServer({
      "both.example": { a: ["192.0.2.1", "192.0.2.2"], aaaa: ["2001:db8::1"] },
      "four.example": { a: ["192.0.2.1"] },
      "six.example": { aaaa: ["2001:db8::1"] },
      "alias.example": { cname: "second.example" },
      "second.example": { cname: "four.example" },
      "six-fails.example": { a: ["192.0.2.1"], aaaa: "SERVFAIL" },
      "four-fails.example": { a: "SERVFAIL", aaaa: ["2001:db8::1"] },
      "six-silent.example": { a: ["192.0.2.1"], aaaa: "silent" },
      "four-silent.example": { a: "silent", aaaa: ["2001:db8::1"] },
      "twice.example": { a: ["192.0.2.1", "192.0.2.1"] },
      "inside.example": { a: ["10.0.0.1"], aaaa: ["::ffff:a00:1"] },
    });
    expect(await ask(over(server), name)).toEqual(addresses);
  });

  test("a silent AAAA costs little more than the resolution delay", async () => {
    await using server = await createNameServer({ "a.example": { a: ["192.0.2.1"], aaaa: "silent" } });
    const started = performance.now();
    await ask(over(server, { timeoutMs: 10_000 }), "a.example");
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  test("search domains are not applied", async () => {
    await using server = await createNameServer({ intranet: { a: ["192.0.2.1"] } });
    await ask(over(server), "intranet");
    expect(new Set(server.asked)).toEqual(new Set(["A intranet", "AAAA intranet"]));
  });
});

describe("faults", () => {
  test.each([
    ["missing.example", "dns-not-found"],
    ["empty.example", "dns-not-found"],
    ["dangling.example", "dns-not-found"],
    ["half-missing.example", "dns-not-found"],
    ["broken.example", "dns-failed"],
    ["refused.example", "dns-failed"],
    ["half-broken.example", "dns-failed"],
    ["silent.example", "dns-timeout"],
    ["half-silent.example", "dns-timeout"],
  ])("%s: %s", async (name, reason) => {
    await using server = await createNameServer({
      "empty.example": {},
      "dangling.example": { cname: "missing.example" },
      "half-missing.example": { a: "NXDOMAIN", aaaa: "SERVFAIL" },
      "broken.example": "SERVFAIL",
      "refused.example": "REFUSED",
      "half-broken.example": { a: "SERVFAIL" },
      "silent.example": "silent",
      "half-silent.example": { a: "silent" },
    });
    const started = performance.now();
    await expect(ask(over(server, { timeoutMs: 400 }), name)).rejects.toMatchObject({
      name: "ProxyFault",
      reason,
    });
    expect(performance.now() - started).toBeLessThan(1_500);
  });

  test("no name server there", async () => {
    const server = await createNameServer({});
    await server[Symbol.asyncDispose]();
    const attempt = ask(over(server, { timeoutMs: 400 }), "a.example");
    await expect(attempt).rejects.toMatchObject({ reason: expect.stringMatching(/^dns-(failed|timeout)$/) });
  });

  test("a lost packet is asked for again", async () => {
    await using server = await createNameServer({ "a.example": "silent" });
    const answer = ask(over(server, { timeoutMs: 2_000 }), "a.example");
    await Promise.all([server.arrival("A a.example"), server.arrival("AAAA a.example")]);
    server.zones.set("a.example", { a: ["192.0.2.1"] });
    expect(await answer).toEqual(["192.0.2.1"]);
  });

  test("an abort ends one wait and no other", async () => {
    await using server = await createNameServer({ "a.example": "silent" });
    const resolver = over(server);
    const controller = new AbortController();
    const reason = new Error("the sandbox left");
    const left = resolver.resolve(host("a.example"), controller.signal);
    const stayed = ask(resolver, "a.example");
    await Promise.all([server.arrival("A a.example"), server.arrival("AAAA a.example")]);
    controller.abort(reason);
    await expect(left).rejects.toBe(reason);
    server.zones.set("a.example", { a: ["192.0.2.1"] });
    expect(await stayed).toEqual(["192.0.2.1"]);
    await expect(resolver.resolve(host("a.example"), AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  test("when all have left, the name is asked for anew", async () => {
    await using server = await createNameServer({ "a.example": "silent" });
    const resolver = over(server);
    const controller = new AbortController();
    const left = resolver.resolve(host("a.example"), controller.signal);
    await server.arrival("A a.example");
    controller.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    server.zones.set("a.example", { a: ["192.0.2.1"] });
    expect(await ask(resolver, "a.example")).toEqual(["192.0.2.1"]);
  });
});

describe("the cache", () => {
  const times = (server: NameServer, question: string) =>
    server.asked.filter((one) => one === question).length;

  test("who asks together asks once, and a kept answer is not asked for", async () => {
    await using server = await createNameServer({ "a.example": { a: ["192.0.2.1"], ttl: 60 } });
    const resolver = over(server);
    await Promise.all([ask(resolver, "a.example", "x"), ask(resolver, "a.example", "y")]);
    await ask(resolver, "a.example");
    expect(times(server, "A a.example")).toBe(1);
  });

  test.each([
    ["an answer without a lifetime", { a: ["192.0.2.1"], ttl: 0 }],
    ["half an answer, the common half missing", { a: "SERVFAIL", aaaa: ["2001:db8::1"], ttl: 60 } as const],
  ])("keeps not: %s", async (_, zone) => {
    await using server = await createNameServer({ "a.example": zone });
    const resolver = over(server);
    await ask(resolver, "a.example");
    await ask(resolver, "a.example");
    expect(times(server, "A a.example")).toBe(2);
  });

  test("the alias's lifetime counts as well", async () => {
    await using server = await createNameServer({
      "a.example": { cname: "b.example", ttl: 0 },
      "b.example": { a: ["192.0.2.1"], ttl: 60 },
    });
    const resolver = over(server);
    await ask(resolver, "a.example");
    await ask(resolver, "a.example");
    expect(times(server, "A a.example")).toBe(2);
  });

  test("keeps no failure", async () => {
    await using server = await createNameServer({});
    const resolver = over(server);
    await expect(ask(resolver, "a.example")).rejects.toMatchObject({ reason: "dns-not-found" });
    server.zones.set("a.example", { a: ["192.0.2.1"] });
    expect(await ask(resolver, "a.example")).toEqual(["192.0.2.1"]);
  });
});

describe("a stuck name delays nobody", () => {
  test("a flood of stuck names leaves room for other sandboxes", async () => {
    await using server = await createNameServer({ "good.example": { a: ["192.0.2.1"] } });
    const resolver = over(server, { timeoutMs: 5_000, concurrency: 8 });
    const controller = new AbortController();
    const flood = Array.from({ length: 500 }, (_, index) => {
      server.zones.set(`stuck-${index}.example`, "silent");
      return resolver
        .resolve(host(`stuck-${index}.example`), controller.signal, "flooder")
        .catch(() => "left");
    });
    // Wanted by the flooder too, at the end of its line.
    const late = resolver.resolve(host("good.example"), controller.signal, "flooder");
    const started = performance.now();
    expect(await ask(resolver, "good.example", "other")).toEqual(["192.0.2.1"]);
    expect(performance.now() - started).toBeLessThan(1_000);
    expect(await late).toEqual(["192.0.2.1"]);
    const names = new Set(server.asked.map((question) => question.split(" ")[1]));
    expect(names.size).toBeLessThanOrEqual(3);
    controller.abort(new Error("enough"));
    expect(new Set(await Promise.all(flood))).toEqual(new Set(["left"]));
  });

  test("a line has an end, and a wait in it too", async () => {
    await using server = await createNameServer({});
    const resolver = over(server, { timeoutMs: 300, concurrency: 4 });
    const waits = Array.from({ length: 1_100 }, (_, index) => {
      server.zones.set(`stuck-${index}.example`, "silent");
      return ask(resolver, `stuck-${index}.example`).catch((error: { reason: string }) => error.reason);
    });
    const reasons = Map.groupBy(await Promise.all(waits), (reason) => reason);
    expect(new Set(reasons.keys())).toEqual(new Set(["dns-timeout", "dns-failed"]));
    // One is in flight, 1,024 are in line.
    expect(reasons.get("dns-failed")).toHaveLength(1_100 - 1_024 - 1);
  });
});
