// Approvals over the store: one document for what is alike, one decision of several, taken once, by whichever replica; and what
// time, a lost store or an audit log that cannot be written make of them.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import * as fc from "fast-check";
import { ProxyFault } from "../../src/net/fault.ts";
import { parsePath } from "../../src/net/request-target.ts";
import { compileGlob, matchesEvery } from "../../src/policy/paths.ts";
import { canBeShown } from "../../src/registry/approval-document.ts";
import type { ApprovalsOptions } from "../../src/registry/approval-options.ts";
import type { AlwaysRule } from "../../src/registry/approval-reach.ts";
import { ApprovalRegistry } from "../../src/registry/approvals.ts";
import type { Answer, Asking } from "../../src/registry/asking.ts";
import { BOUNDS } from "../../src/registry/checks.ts";
import { GrantUses, SELDOM_MS } from "../../src/registry/grant-uses.ts";
import { type Actor, ControlError, type Decision } from "../../src/registry/types.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/types.ts";
import { type Bench, benchOf, NOTHING_ABOVE, OPERATOR } from "./support.ts";

const APPROVER: Actor = { name: "token:ada", role: "approver", from: "127.0.0.1:9" };
const ONCE: Decision = { action: "allow", scope: "once", reason: "fine" };
const ASKING: Asking = {
  sandbox: "filed",
  address: "192.0.2.1",
  policy: "wide",
  method: "POST",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  path: "/made",
  query: "",
  reason: "host-not-allowed",
  waitMs: 60_000,
};
const AT_ONCE: Asking = { ...ASKING, waitMs: 0 };

/** Registry and approvals of one replica. */
type Replica = {
  readonly bench: Bench;
  readonly approvals: ApprovalRegistry;
  readonly events: string[];
  readonly faults: unknown[];
};

let store: Store;
let at: number;
let open: Replica[];

beforeEach(() => {
  store = openSqlite(":memory:");
  at = Date.UTC(2026, 10, 26, 12);
  open = [];
});
afterEach(async () => {
  for (const { bench, approvals } of open) {
    approvals.close();
    bench.close();
  }
  await store.close();
});

async function replica(options: Partial<ApprovalsOptions> = {}, over = store): Promise<Replica> {
  const faults: unknown[] = [];
  const now = (): number => at;
  const bench = await benchOf({ store: over, now, onFault: (error) => void faults.push(error) });
  const events: string[] = [];
  const approvals = new ApprovalRegistry({
    registry: { ...bench, roster: () => ({ items: [] }) },
    noted: async (fields) => void (bench.noted as unknown[]).push(fields),
    above: NOTHING_ABOVE,
    always: () => Promise.reject(new ControlError("conflict", "there is no configuration file")),
    pendingMs: () => 3_600_000,
    heldFirstMs: 0,
    paths: true,
    on: {
      opened: ({ id }) => void events.push(`opened ${id}`),
      question: (outcome) => void events.push(`question ${outcome}`),
      decided: (outcome) => void events.push(`decided ${outcome}`),
      pending: () => {},
    },
    onFault: (error) => void faults.push(error),
    now,
    ...options,
  });
  const one = { bench, approvals, events, faults };
  open.push(one);
  return one;
}

const forever = new AbortController().signal;
const outcomes = async (asked: readonly Promise<Answer>[]): Promise<string[]> =>
  (await Promise.all(asked)).map(({ outcome }) => outcome);

async function eventually(holds: () => boolean): Promise<void> {
  for (let tries = 0; !holds() && tries < 500; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(holds()).toBe(true);
}

const idOf = ({ approvals }: Replica): string =>
  approvals.all().find(({ state }) => state === "pending")?.id ?? "";

describe("two replicas", () => {
  test("ask once for what is alike; a decision on one lets those that wait on both pass, and nobody else", async () => {
    const [one, two] = [await replica(), await replica()];
    const waiting = [one, two, one].map(({ approvals }) => approvals.ask(ASKING, forever));
    await eventually(() => one.approvals.all().length === 1 && two.approvals.all().length === 1);
    expect(idOf(one)).toBe(idOf(two));
    await two.approvals.decide(APPROVER, idOf(one), ONCE);
    expect(await outcomes(waiting)).toEqual(["allowed", "allowed", "allowed"]);
    for (const { approvals } of [one, two])
      expect(await outcomes([approvals.ask(AT_ONCE, forever)])).toEqual(["pending"]);
  });

  test("of next requests on both, one has what was allowed once", async () => {
    const [one, two] = [await replica(), await replica()];
    expect(await outcomes([one.approvals.ask(AT_ONCE, forever)])).toEqual(["pending"]);
    await eventually(() => idOf(two) !== "");
    await one.approvals.decide(APPROVER, idOf(one), ONCE);
    await eventually(() => two.approvals.all()[0]?.state === "allowed");
    const next = [one, two, two, one].map(({ approvals }) => approvals.ask(AT_ONCE, forever));
    expect((await outcomes(next)).toSorted()).toEqual(["allowed", "pending", "pending", "pending"]);
  });

  test("whoever waits where it was not decided comes before whoever comes next", async () => {
    const [one, two] = [await replica({ heldFirstMs: 500 }), await replica({ heldFirstMs: 500 })];
    const waits = two.approvals.ask(ASKING, forever);
    await eventually(() => idOf(one) !== "");
    await one.approvals.decide(APPROVER, idOf(one), ONCE);
    const next = one.approvals.ask(AT_ONCE, forever);
    expect(await outcomes([waits, next])).toEqual(["allowed", "pending"]);
  });

  test("of two decisions at once one stands, and both hear which", async () => {
    const [one, two] = [await replica(), await replica()];
    const waits = one.approvals.ask(ASKING, forever);
    await eventually(() => idOf(two) !== "");
    const id = idOf(one);
    const decisions = await Promise.allSettled([
      one.approvals.decide(APPROVER, id, { action: "deny", reason: "no" }),
      two.approvals.decide(OPERATOR, id, ONCE),
    ]);
    const [stands] = decisions.flatMap((one) => (one.status === "fulfilled" ? [one.value.state] : []));
    const [lost] = decisions.flatMap((one): unknown[] => (one.status === "rejected" ? [one.reason] : []));
    expect(lost).toMatchObject({ problem: "conflict" });
    expect((await waits).outcome).toBe(stands);
    for (const { approvals } of [one, two]) expect(approvals.all()[0]?.state).toBe(stands);
  });

  test("count what is asked on both", async () => {
    const [one, two] = [await replica(), await replica()];
    for (const { approvals } of [one, two, one, two, two]) await approvals.ask(AT_ONCE, forever);
    await eventually(() => [one, two].every(({ approvals }) => approvals.all()[0]?.requests === 5));
  });
});

describe("time", () => {
  test("undecided for so long, it expires, is recorded so, and is asked anew under another id", async () => {
    const one = await replica();
    await one.approvals.ask(AT_ONCE, forever);
    const id = idOf(one);
    at += 3_600_000;
    expect(one.approvals.all()[0]?.state).toBe("expired");
    await expect(one.approvals.decide(APPROVER, id, ONCE)).rejects.toMatchObject({ problem: "conflict" });
    await one.approvals.ask(AT_ONCE, forever);
    expect(idOf(one)).not.toBe(id);
    await eventually(() =>
      one.bench.noted.some(({ action, object }) => action === "approval.expire" && object === id),
    );
    expect(one.events).toContain("decided expired");
  });

  test.each([
    { ms: 5 * 60_000 - 1, outcome: "allowed" },
    { ms: 5 * 60_000, outcome: "pending" },
  ])(
    "what was allowed once is to be had for five minutes: after $ms ms it is $outcome",
    async ({ ms, outcome }) => {
      const one = await replica();
      await one.approvals.ask(AT_ONCE, forever);
      await one.approvals.decide(APPROVER, idOf(one), ONCE);
      at += ms;
      expect(await outcomes([one.approvals.ask(AT_ONCE, forever)])).toEqual([outcome]);
    },
  );

  test.each([
    { ms: 10 * 60_000 - 1, outcome: "denied" },
    { ms: 10 * 60_000, outcome: "pending" },
  ])("a denial holds for ten minutes: after $ms ms it is $outcome", async ({ ms, outcome }) => {
    const one = await replica();
    await one.approvals.ask(AT_ONCE, forever);
    await one.approvals.decide(APPROVER, idOf(one), { action: "deny", reason: "no" });
    at += ms;
    expect(await outcomes([one.approvals.ask(AT_ONCE, forever)])).toEqual([outcome]);
  });

  test("what was decided is forgotten after a day", async () => {
    const one = await replica();
    await one.approvals.ask(AT_ONCE, forever);
    await one.approvals.decide(APPROVER, idOf(one), ONCE);
    at += 86_400_000;
    await eventually(() => one.approvals.all().length === 0);
  });
});

describe("how far it reaches", () => {
  async function decided(asking: Asking, decision: Decision, options: Partial<ApprovalsOptions> = {}) {
    const one = await replica(options);
    await one.approvals.ask(asking, forever);
    const id = idOf(one);
    const outcome = await one.approvals.decide(APPROVER, id, decision).then(
      ({ state }) => state,
      (error: unknown) => (error instanceof ControlError ? error.problem : error),
    );
    return { one, id, outcome };
  }

  test("for a time, a grant that ends with it", async () => {
    const decision = { action: "allow", scope: "time", ms: 60_000, reason: "release day" } as const;
    const { one, outcome } = await decided(AT_ONCE, decision);
    expect(outcome).toBe("allowed");
    expect(one.bench.control.grants()).toEqual([
      expect.objectContaining({
        sandbox: "filed",
        host: "api.example.com",
        ports: [443],
        methods: ["POST"],
        paths: ["/made"],
        owner: "token:ada",
        reason: "release day",
        expires: at + 60_000,
        usedAt: undefined,
      }),
    ]);
  });

  test.each([
    { name: "a time without end", asking: AT_ONCE, decision: { scope: "time", ms: Infinity } },
    { name: "no time", asking: AT_ONCE, decision: { scope: "time", ms: 0 } },
    { name: "a path that is a pattern", asking: { ...AT_ONCE, path: "/**" }, decision: { scope: "sandbox" } },
    { name: "no path", asking: { ...AT_ONCE, method: "OPTIONS", path: "*" }, decision: { scope: "sandbox" } },
    {
      name: "nobody in particular",
      asking: { ...AT_ONCE, sandbox: undefined },
      decision: { scope: "sandbox" },
    },
    {
      name: "nobody, for a time",
      asking: { ...AT_ONCE, sandbox: undefined },
      decision: { scope: "time", ms: 60_000 },
    },
    { name: "no reason", asking: AT_ONCE, decision: { scope: "once", reason: " " } },
  ])("never $name", async ({ asking, decision }) => {
    const whole = { action: "allow", reason: "fine", ...decision } as Decision;
    const { one, id, outcome } = await decided(asking, whole);
    expect(outcome).toBe("invalid");
    expect(one.approvals.all()[0]).toMatchObject({ id, state: "pending" });
    expect(one.bench.control.grants()).toEqual([]);
    expect(one.bench.noted.at(-1)).toMatchObject({
      action: "approval.allow",
      object: id,
      failed: expect.any(String),
    });
  });

  test("never above the requirements", async () => {
    const decision = { action: "allow", scope: "sandbox", reason: "fine" } as const;
    const { one, outcome } = await decided(AT_ONCE, decision, {
      above: { ...NOTHING_ABOVE, grant: () => "the requirements deny this host" },
    });
    expect(outcome).toBe("above-requirements");
    expect(one.approvals.all()[0]?.state).toBe("pending");
  });

  test("never more for one sandbox than anybody may grant it", async () => {
    const one = await replica();
    const grant = { sandbox: "filed", host: "a.example", methods: ["GET"], reason: "x", ttl: 60_000 };
    for (let made = 0; made < BOUNDS.grantsOfOne - 1; made++) await one.bench.control.grant(OPERATOR, grant);
    const decision = { action: "allow", scope: "sandbox", reason: "fine" } as const;
    const attempt = async (path: string): Promise<string> => {
      const answer = await one.approvals.ask({ ...AT_ONCE, path }, forever);
      const id = "id" in answer ? answer.id : "";
      return one.approvals.decide(APPROVER, id, decision).then(
        ({ state }) => state,
        (error: unknown) => (error instanceof ControlError ? error.problem : String(error)),
      );
    };
    expect([await attempt("/last"), await attempt("/over")]).toEqual(["allowed", "unavailable"]);
    expect(one.bench.control.grants()).toHaveLength(BOUNDS.grantsOfOne);
  });

  test("always is a rule for this very request, and is allowed once it is written", async () => {
    const rules: AlwaysRule[] = [];
    const always = (rule: AlwaysRule) => Promise.resolve({ write: async () => void rules.push(rule) });
    const decision = { action: "allow", scope: "always", reason: "our own API" } as const;
    const { id, outcome } = await decided({ ...AT_ONCE, path: "/a%2Fb" }, decision, { always });
    expect(outcome).toBe("allowed");
    expect(rules).toEqual([
      {
        approval: id,
        policy: "wide",
        host: "api.example.com",
        port: 443,
        method: "POST",
        paths: ["/a/b", "/a%2Fb"],
        reason: "our own API",
      },
    ]);
  });

  test("where the rule cannot be written, nothing is decided: before, or as it is written", async () => {
    const decision = { action: "allow", scope: "always", reason: "our own API" } as const;
    expect((await decided(AT_ONCE, decision)).outcome).toBe("conflict");
    const write = () =>
      Promise.reject(new ControlError("conflict", "the configuration file was changed meanwhile"));
    const one = await replica({ always: () => Promise.resolve({ write }) });
    const path = "/other";
    const waits = one.approvals.ask({ ...ASKING, path }, forever);
    await eventually(() => one.approvals.all().some((approval) => approval.path === path));
    const id = one.approvals.all().find((approval) => approval.path === path)?.id ?? "";
    await expect(one.approvals.decide(APPROVER, id, decision)).rejects.toMatchObject({ problem: "conflict" });
    expect(one.approvals.all().find((approval) => approval.id === id)?.state).toBe("pending");
    await one.approvals.decide(APPROVER, id, { action: "deny", reason: "then not" });
    expect((await waits).outcome).toBe("denied");
  });

  test("the globs of a path match it and no other", () => {
    const octet = fc.constantFrom(..."ab.-_~%2F/[]{}()!@+$,;=:|^'\"<>`");
    const path = fc
      .array(octet, { minLength: 1, maxLength: 12 })
      .map((octets) => parsePath(`/${octets.join("")}`));
    const good = path.filter((one) => one !== undefined && !one.ambiguous);
    fc.assert(
      fc.property(good, good, (one, other) => {
        if (one === undefined || other === undefined) return;
        const texts = [...new Set([one.canonical, ...(one.plain ? [] : [one.sent])])];
        const globs = texts.map(compileGlob).filter((glob) => glob instanceof RegExp);
        if (globs.length < texts.length) return;
        expect(matchesEvery(globs, one)).toBe(true);
        if (other.canonical !== one.canonical) expect(matchesEvery(globs, other)).toBe(false);
      }),
    );
  });
});

describe("what fails", () => {
  test("a store that is lost asks nobody, and decides nothing", async () => {
    let lost = false;
    const losing: Store = {
      ...store,
      write: (writes) => (lost ? Promise.reject(new Error("gone")) : store.write(writes)),
    };
    const one = await replica({}, losing);
    await one.approvals.ask(AT_ONCE, forever);
    lost = true;
    expect(await outcomes([one.approvals.ask({ ...AT_ONCE, path: "/other" }, forever)])).toEqual(["unasked"]);
    await expect(one.approvals.decide(APPROVER, idOf(one), ONCE)).rejects.toThrow("gone");
    expect(one.approvals.all()).toHaveLength(1);
    expect(one.approvals.all()[0]?.state).toBe("pending");
    lost = false;
    expect(await outcomes([one.approvals.ask({ ...AT_ONCE, path: "/other" }, forever)])).toEqual(["pending"]);
  });

  test("what cannot be recorded is neither asked nor decided", async () => {
    let full = false;
    const noted = (): Promise<void> =>
      full ? Promise.reject(new ProxyFault("audit-unavailable")) : Promise.resolve();
    const one = await replica({ noted });
    await one.approvals.ask(AT_ONCE, forever);
    full = true;
    expect(await outcomes([one.approvals.ask({ ...AT_ONCE, path: "/other" }, forever)])).toEqual(["unasked"]);
    await expect(one.approvals.decide(APPROVER, idOf(one), ONCE)).rejects.toMatchObject({
      problem: "unavailable",
    });
    expect(one.approvals.all().map(({ state }) => state)).toEqual(["pending"]);
  });

  test("an id that there is not", async () => {
    const one = await replica();
    await expect(one.approvals.decide(APPROVER, "ap_x", ONCE)).rejects.toMatchObject({
      problem: "not-found",
    });
  });
});

test("no path stands in the records where none is kept", async () => {
  const one = await replica({ paths: false });
  await one.approvals.ask(AT_ONCE, forever);
  await one.approvals.decide(APPROVER, idOf(one), ONCE);
  expect(one.bench.noted).toHaveLength(2);
  expect(JSON.stringify(one.bench.noted)).not.toContain("/made");
});

test("an asker that gives up leaves its place to others", async () => {
  const one = await replica();
  const over = new AbortController();
  const many = Array.from({ length: 16 }, () => one.approvals.ask(ASKING, over.signal));
  await eventually(() => one.approvals.all()[0]?.requests === 16);
  expect(await outcomes([one.approvals.ask(ASKING, forever)])).toEqual(["pending"]);
  over.abort();
  expect(new Set(await outcomes(many))).toEqual(new Set(["pending"]));
  const waits = one.approvals.ask(ASKING, forever);
  await one.approvals.decide(APPROVER, idOf(one), ONCE);
  expect((await waits).outcome).toBe("allowed");
});

test.each([
  { what: { host: "xn--80ak6aa92e.com" }, shown: true },
  { what: { host: "аррlе.com" }, shown: false },
  { what: { host: "API.example.com" }, shown: false },
  { what: { host: "192.0.2.1" }, shown: false },
  { what: { host: "2001:db8::1" }, shown: false },
  { what: { path: "/a\u001b[2Jb" }, shown: false },
  { what: { path: "/a b" }, shown: false },
  { what: { path: "/\u202egnp.exe" }, shown: false },
  { what: { path: `/${"a".repeat(1_023)}` }, shown: true },
  { what: { path: `/${"a".repeat(1_024)}` }, shown: false },
  { what: { method: "GET\n" }, shown: false },
  { what: { method: "M".repeat(32) }, shown: true },
  { what: { method: "M".repeat(33) }, shown: false },
])("an approver is shown $what: $shown", ({ what, shown }) => {
  expect(canBeShown({ ...ASKING, ...what })).toBe(shown);
});

test("that a grant is used is written at its first use, and seldom after that", async () => {
  const one = await replica();
  const { control, replica: documents } = one.bench;
  const grant = { host: "a.example", methods: ["GET"], reason: "r", ttl: 86_400_000 };
  const { id } = await control.grant(OPERATOR, grant);
  const uses = new GrantUses({
    replica: documents,
    onFault: (error) => void one.faults.push(error),
    now: () => at,
  });
  uses.used("no-such-grant");
  for (let many = 0; many < 100; many++) uses.used(id);
  await eventually(() => control.grants()[0]?.usedAt === at);
  expect(control.grants()[0]?.version).toBe(2);
  at += SELDOM_MS - 1;
  uses.used(id);
  at += 1;
  uses.used(id);
  await eventually(() => control.grants()[0]?.usedAt === at);
  expect(control.grants()[0]?.version).toBe(3);
  expect(one.faults).toEqual([]);
});
