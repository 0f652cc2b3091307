// What runtimes and operators do to sandboxes: each action is recorded, stored, and on the roster before it answers; what is not
// theirs to do changes nothing.

import { expect, test, vi } from "vitest";
import { hash } from "node:crypto";
import { ControlError } from "../../src/registry/types.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import { ProxyFault } from "../../src/net/fault.ts";
import { benchOf, NOTHING_ABOVE, OPERATOR, OTHER_RUNTIME, REGISTRATION, RUNTIME } from "./support.ts";
import { eventually } from "../support/eventually.ts";

async function problemOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ControlError) return `${error.problem}: ${error.message}`;
    throw error;
  }
  return "none";
}

test("a registered sandbox is on the roster with the digest of its secret alone, and in the record without either", async () => {
  await using bench = await benchOf();
  const { sandbox, secret } = await bench.control.register(RUNTIME, { ...REGISTRATION, id: "task-42" });
  expect(sandbox).toMatchObject({
    id: "task-42",
    state: "active",
    phase: "setup",
    createdBy: "token:runner",
  });
  expect(secret).toMatch(/^sps_[\w-]{43}$/);
  const item = bench.roster.items.get("task-42");
  expect(item?.registered?.digest).toBe(hash("sha256", secret, "base64url"));
  expect(bench.noted).toEqual([
    {
      action: "sandbox.register",
      object: "task-42",
      actor: "token:runner",
      role: "runtime",
      from: "127.0.0.1:6",
      policy: "wide",
      phase: "setup",
      "label.task": "42",
    },
  ]);
  const told = JSON.stringify([bench.noted, bench.control.sandboxes(), (await bench.store.read()).items]);
  expect(told).not.toContain(secret);
});

test.each([
  ["an id that is no name", { id: "../x" }, "invalid"],
  ["an id that the file declares", { id: "filed" }, "conflict"],
  ["a policy that is not there", { policies: { setup: "wide", agent: "none" } }, "invalid"],
  ["a time to live of nothing", { ttl: 0 }, "invalid"],
  ["a time to live of 31 days", { ttl: 31 * 86_400_000 }, "invalid"],
  [
    "17 labels",
    { labels: Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`l${at}`, ""])) },
    "invalid",
  ],
  ["a label of 257 characters", { labels: { a: "x".repeat(257) } }, "invalid"],
  ["a source that is no network", { sources: ["everywhere"] }, "invalid"],
  ["half of the world", { sources: ["0.0.0.0/1"] }, "invalid"],
  ["a source that is too wide", { sources: ["10.0.0.0/15"] }, "invalid"],
  ["one of IPv6", { sources: ["2001:db8::/47"] }, "invalid"],
  ["IPv4 inside IPv6, which nobody comes from", { sources: ["::ffff:10.0.0.1"] }, "invalid"],
  ["a time for setup in the phase agent", { phase: "agent", setupFor: 5_000 }, "invalid"],
] as const)("%s is refused, unrecorded and unstored", async (_what, wrong, problem) => {
  await using bench = await benchOf();
  const asked = { ...REGISTRATION, ...wrong };
  expect(await problemOf(bench.control.register(RUNTIME, asked))).toMatch(new RegExp(`^${problem}: `));
  expect([bench.noted, (await bench.store.read()).items]).toEqual([[], []]);
});

test("what the requirements forbid is refused", async () => {
  await using bench = await benchOf({
    above: {
      ...NOTHING_ABOVE,
      registration: () => "preset all is forbidden",
      grant: () => "only for an hour",
    },
  });
  expect(await problemOf(bench.control.register(RUNTIME, REGISTRATION))).toBe(
    "above-requirements: preset all is forbidden",
  );
  const grant = { host: "a.example", methods: ["GET"], reason: "x", ttl: 5_000 };
  expect(await problemOf(bench.control.grant(OPERATOR, grant))).toBe("above-requirements: only for an hour");
});

test("the move to agent is one way for a runtime; an operator resets it", async () => {
  await using bench = await benchOf();
  const { control, roster, noted } = bench;
  await control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  expect((await control.move(RUNTIME, "a", "agent")).phase).toBe("agent");
  expect(roster.items.get("a")?.phase).toBe("agent");
  expect(await problemOf(control.move(RUNTIME, "a", "setup"))).toMatch(
    /^conflict: the move to agent is one way/,
  );
  expect(roster.items.get("a")?.phase).toBe("agent");
  expect((await control.move(OPERATOR, "a", "setup")).phase).toBe("setup");
  expect(noted.map(({ action }) => action)).toEqual(["sandbox.register", "sandbox.move", "sandbox.reset"]);
});

test("a sandbox of the file moves, and its file stands above that once it says otherwise", async () => {
  let phase: "setup" | "agent" = "setup";
  await using bench = await benchOf({
    declared: () => ({
      sandboxes: [{ id: "filed", policies: { setup: "wide", agent: "narrow" }, phase }],
      policies: ["wide", "narrow"],
    }),
  });
  const { control, roster } = bench;
  expect((await control.move(OPERATOR, "filed", "agent")).phase).toBe("agent");
  expect(roster.items.get("filed")).toMatchObject({ phase: "agent", registered: undefined });
  expect(await problemOf(control.end(OPERATOR, "filed", "x"))).toMatch(/^conflict: the operator's file/);
  phase = "agent";
  expect(control.sandbox("filed")?.phase).toBe("agent");
  phase = "setup";
  expect(control.sandbox("filed")?.phase).toBe("agent");
});

test("a runtime touches no sandbox but its own, and is not told of others", async () => {
  await using bench = await benchOf();
  const { control } = bench;
  await control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  for (const work of [
    () => control.move(OTHER_RUNTIME, "a", "agent"),
    () => control.end(OTHER_RUNTIME, "a", "x"),
    () => control.update(OTHER_RUNTIME, "a", { labels: {} }),
    () => control.move(OTHER_RUNTIME, "filed", "agent"),
  ])
    expect(await problemOf(work())).toMatch(/^not-found: /);
  expect(control.sandbox("a")).toMatchObject({ phase: "setup", state: "active", labels: { task: "42" } });
});

test("an ended sandbox is off the roster, its grants with it, and its id is not given again", async () => {
  await using bench = await benchOf();
  const { control, roster } = bench;
  await control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  await control.grant(OPERATOR, {
    sandbox: "a",
    host: "one.example",
    methods: ["POST"],
    reason: "release",
    ttl: 60_000,
  });
  expect(roster.items.get("a")?.grants).toMatchObject([{ host: "one.example", methods: ["POST"] }]);
  const view = await control.end(RUNTIME, "a", "done");
  expect(view).toMatchObject({ state: "ended", endedBecause: "done" });
  expect(roster.items.has("a")).toBe(false);
  expect(control.grants()).toEqual([]);
  expect(await problemOf(control.register(RUNTIME, { ...REGISTRATION, id: "a" }))).toMatch(/^conflict/);
  expect(await problemOf(control.move(RUNTIME, "a", "agent"))).toBe("conflict: sandbox a has ended");
});

test("an update that was made from an older version changes nothing", async () => {
  await using bench = await benchOf();
  const { control } = bench;
  const { sandbox } = await control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  await control.update(RUNTIME, "a", { labels: { task: "43" }, version: sandbox.version });
  expect(await problemOf(control.update(RUNTIME, "a", { labels: {}, version: sandbox.version }))).toMatch(
    /^conflict: /,
  );
  expect(control.sandbox("a")?.labels).toEqual({ task: "43" });
});

test("time ends, moves and revokes, by a clock that survives a restart", async () => {
  vi.useFakeTimers();
  try {
    const store = openSqlite(":memory:");
    const first = await benchOf({ store });
    await first.control.register(RUNTIME, { ...REGISTRATION, id: "a", ttl: 60_000, setupFor: 10_000 });
    await first.control.grant(OPERATOR, {
      host: "one.example",
      methods: "all",
      reason: "x",
      ttl: 20_000,
    });
    first.close();
    await using second = await benchOf({ store });
    second.roster.take(second.updates[0] ?? { items: [] });
    await vi.advanceTimersByTimeAsync(9_900);
    expect(second.control.sandbox("a")?.phase).toBe("setup");
    await vi.advanceTimersByTimeAsync(200);
    expect(second.control.sandbox("a")?.phase).toBe("agent");
    expect(second.control.grants()).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(second.control.grants()).toEqual([]);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(second.control.sandbox("a")?.state).toBe("ended");
    await vi.advanceTimersByTimeAsync(7 * 86_400_000);
    expect(second.control.sandbox("a")).toBeUndefined();
    expect(second.noted.map(({ action, actor }) => `${String(action)} ${String(actor)}`)).toEqual([
      "sandbox.move sallyport",
      "grant.expire sallyport",
      "sandbox.end sallyport",
    ]);
    expect(second.noted[1]).toMatchObject({ used: false });
  } finally {
    vi.useRealTimers();
  }
});

test("tokens are found by their secret alone, until they are revoked or expire", async () => {
  let at = 1_000_000;
  await using bench = await benchOf({ now: () => at });
  const { control } = bench;
  const { token, secret } = await control.createToken(OPERATOR, { name: "ci", role: "runtime", ttl: 5_000 });
  expect(control.authenticate(secret)).toEqual(token);
  expect(control.authenticate(`${secret}x`)).toBeUndefined();
  expect(await problemOf(control.createToken(OPERATOR, { name: "ci", role: "viewer" }))).toMatch(/^conflict/);
  at += 5_000;
  expect(control.authenticate(secret)).toBeUndefined();
  const other = await control.createToken(OPERATOR, { name: "siem", role: "viewer" });
  await control.revokeToken(OPERATOR, other.token.id);
  expect(control.authenticate(other.secret)).toBeUndefined();
  expect(await problemOf(control.revokeToken(OPERATOR, other.token.id))).toMatch(/^not-found/);
  expect(JSON.stringify([bench.noted, (await bench.store.read()).items])).not.toMatch(/spt_/);
});

test("lockdown of one and of all is on the roster until it is lifted", async () => {
  await using bench = await benchOf();
  const { control, roster } = bench;
  await control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  await control.lockDown(OPERATOR, "a", "it sends things");
  expect(roster.items.get("a")?.lockdown).toEqual({
    id: "lockdown",
    source: "lockdown by token:olga",
    reason: "it sends things",
  });
  expect(control.sandbox("a")?.lockdown).toBe("it sends things");
  await control.lockDown(OPERATOR, "*", "incident");
  expect(roster.everyone.lockdown?.reason).toBe("incident");
  await control.lift(OPERATOR, "*", "over");
  expect(roster.everyone.lockdown).toBeUndefined();
  expect(await problemOf(control.lift(OPERATOR, "*", "over"))).toMatch(/^not-found/);
  expect(await problemOf(control.lockDown(OPERATOR, "nobody", "x"))).toMatch(/^not-found/);
});

test("nothing is changed that cannot be recorded", async () => {
  await using bench = await benchOf({
    noted: () => Promise.reject(new ProxyFault("audit-unavailable")),
  });
  expect(await problemOf(bench.control.register(RUNTIME, REGISTRATION))).toMatch(
    /^unavailable: the audit log/,
  );
  expect((await bench.store.read()).items).toEqual([]);
});

test("a store that fails refuses changes, says so in the record, and what is known keeps holding", async () => {
  const store = openSqlite(":memory:");
  await using bench = await benchOf({ store });
  await bench.control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  await store.close();
  expect(await problemOf(bench.control.move(RUNTIME, "a", "agent"))).toMatch(/^unavailable: the store/);
  expect(bench.noted.at(-1)).toMatchObject({
    action: "sandbox.move",
    failed: expect.stringContaining("store"),
  });
  expect(bench.control.sandbox("a")?.phase).toBe("setup");
  expect(bench.control.healthy()).toBe(false);
});

test("two registries over one store: each sees what the other did, and one is first", async () => {
  const store = openSqlite(":memory:");
  const one = await benchOf({ store });
  await using other = await benchOf({ store });
  await one.control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  await eventually(() => expect(other.control.sandbox("a")?.state).toBe("active"));
  const outcomes = await Promise.all([
    problemOf(one.control.register(RUNTIME, { ...REGISTRATION, id: "b" })),
    problemOf(other.control.register(RUNTIME, { ...REGISTRATION, id: "b" })),
  ]);
  expect(outcomes.filter((outcome) => outcome === "none")).toHaveLength(1);
  expect(outcomes.filter((outcome) => outcome.startsWith("conflict: "))).toHaveLength(1);
  one.close();
});
