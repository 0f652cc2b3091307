// What holds for one sandbox beside its policy: a lockdown that nothing lifts, grants that can only turn a miss; and what a
// policy asks about instead of denying it.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { compileGrants } from "../../src/policy/compile.ts";
import { admit, decide } from "../../src/policy/decide.ts";
import { explain } from "../../src/policy/explain.ts";
import type { DecideFacts } from "../../src/policy/grant.ts";
import { admitName } from "../../src/policy/parent.ts";
import type { Facts, Grant, RuleRef, Standing } from "../../src/policy/types.ts";
import { facts, methods, NARROWED, policy, rule } from "./arbitraries.ts";
import { connect, hello, NOW, request, resolved, snapshotOf, type PolicyText } from "./support.ts";

const LOCKDOWN: RuleRef = { id: "lockdown", source: "operator", reason: "something was seen" };
const LOCKED: Standing = { lockdown: LOCKDOWN, grants: undefined };

const grantOf = (grant: Partial<Grant>): Grant => ({
  id: "g1",
  host: "a.test",
  methods: "all",
  expires: NOW + 1,
  source: "api",
  ...grant,
});
const granted = (...grants: readonly Partial<Grant>[]): Standing => ({
  lockdown: undefined,
  grants: compileGrants(grants.map(grantOf)),
});

describe("a lockdown", () => {
  const EVERYTHING: PolicyText = {
    presets: [{ name: "all", patterns: [] }],
    methods: "all",
    mode: "report-only",
    ask: "wait",
    allow: [{ host: "a.test", networks: ["10.0.0.0/8"] }],
    splice: [{ host: "a.test" }],
    tcp: [{ host: "a.test", ports: [22] }],
  };
  const standing: Standing = { lockdown: LOCKDOWN, grants: granted({}).grants };
  const denied = { action: "deny", reason: "lockdown", rule: LOCKDOWN, shown: undefined };

  test.each<Facts>([
    connect("a.test"),
    connect("a.test:22"),
    connect("a.test", { policy: "gone" }),
    hello("a.test", "a.test"),
    hello("a.test", "b.test"),
    request("GET https://a.test/"),
    resolved("a.test", ["10.1.2.3", "93.184.216.34"]),
    resolved("a.test", ["93.184.216.34"], { policy: "gone" }),
  ])("denies at $stage, whatever the policy says", (one) => {
    const explained = explain(snapshotOf(EVERYTHING), { ...one, standing });
    expect(explained.verdict).toEqual(denied);
    expect(explained.steps.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual(["lockdown deny"]);
    expect(explained.flip).toEqual({
      impossible: "a lockdown holds until whoever ordered it lifts it",
    });
  });

  test("denies a name that only a parent proxy resolves", () => {
    const { target } = connect("a.test");
    const snapshot = snapshotOf(EVERYTHING);
    expect(admitName(snapshot, { policy: "default", standing: LOCKED, target })).toEqual(denied);
    expect(admitName(snapshot, { policy: "gone", standing: LOCKED, target })).toEqual(denied);
    expect(admitName(snapshot, { policy: "default", target }).action).toBe("allow");
  });

  test("tells its reason to the sandbox only where the policy shows rules", () => {
    const shown = decide(
      snapshotOf({ showRule: true }),
      request("GET https://a.test/", { standing: LOCKED }),
    );
    expect(shown).toMatchObject({ reason: "lockdown", shown: "something was seen" });
  });

  test("lifted, and absent, it is as if there were none", () => {
    const none: Standing = { lockdown: undefined, grants: undefined };
    for (const one of [connect("a.test"), request("GET https://b.test/")])
      expect(decide(snapshotOf(EVERYTHING), { ...one, standing: none })).toEqual(
        decide(snapshotOf(EVERYTHING), one),
      );
  });
});

describe("a grant", () => {
  test.each<[string, Partial<Grant>, DecideFacts, boolean]>([
    ["its host", {}, request("POST https://a.test/x"), true],
    ["another host", {}, request("POST https://b.test/x"), false],
    ["a host below", {}, request("POST https://x.a.test/x"), false],
    ["a wildcard", { host: "*.a.test" }, request("POST https://x.a.test/x"), true],
    ["its method", { methods: ["POST"] }, request("POST https://a.test/x"), true],
    ["another method", { methods: ["POST"] }, request("PUT https://a.test/x"), false],
    ["no method", { methods: [] }, request("GET https://a.test/x"), false],
    ["its port", { ports: [8443] }, request("GET https://a.test:8443/x"), true],
    ["another port", { ports: [8443] }, request("GET https://a.test/x"), false],
    ["its path", { paths: ["/x"] }, request("GET https://a.test/x"), true],
    ["another path", { paths: ["/x"] }, request("GET https://a.test/y"), false],
    ["a path of two readings", { paths: ["/x/y"] }, request("GET https://a.test/x%2fy"), false],
    ["before it expires", { expires: NOW + 1 }, request("GET https://a.test/x"), true],
    ["as it expires", { expires: NOW }, request("GET https://a.test/x"), false],
    ["a tunnel to it", { methods: ["POST"], paths: ["/x"] }, connect("a.test"), true],
    ["its ClientHello", { methods: ["POST"], paths: ["/x"] }, hello("a.test", "a.test"), true],
    ["a tunnel to another port", { ports: [8443] }, connect("a.test"), false],
    [
      "a push under a list of methods",
      { methods: ["GET"] },
      request("GET https://a.test/i?service=git-receive-pack"),
      false,
    ],
    [
      "an upgrade under a list",
      { methods: ["GET"] },
      request("GET https://a.test/", { upgrade: true }),
      false,
    ],
    // Whatever was stored: what cannot be read grants nothing, and no grant leads past the address guard.
    ["an address", { host: "192.0.2.1" }, connect("192.0.2.1"), false],
    ["a network", { host: "192.0.2.0/24" }, connect("192.0.2.1"), false],
    ["a malformed host", { host: "A.test" }, connect("a.test"), false],
    ["a malformed path", { paths: ["x"] }, connect("a.test"), false],
  ])("turns a miss for %s", (_, grant, one, turns) => {
    const verdict = decide(snapshotOf({}), { ...one, standing: granted(grant) });
    expect(verdict.action).toBe(turns ? "allow" : "deny");
    if (verdict.action === "allow")
      expect(verdict).toMatchObject({ rule: { id: "grant:g1" }, handling: "intercept" });
  });

  test("of several, the first that allows", () => {
    const standing = granted(
      { id: "g1", methods: ["PUT"] },
      { id: "g2", methods: ["POST"], reason: "orders" },
    );
    expect(decide(snapshotOf({}), request("POST https://a.test/", { standing }))).toMatchObject({
      rule: { id: "grant:g2", source: "api", reason: "orders" },
    });
  });

  test("passes nothing unread, not even where the policy splices that host", () => {
    const snapshot = snapshotOf({ splice: [{ host: "a.test" }] });
    expect(decide(snapshot, connect("a.test", { standing: granted({}) }))).toMatchObject({
      handling: "intercept",
    });
  });

  test("lifts no address verdict", () => {
    const standing = granted({ networks: ["10.0.0.0/8", "127.0.0.0/8"] });
    for (const address of ["10.1.2.3", "127.0.0.1", "169.254.169.254"])
      expect(admit(snapshotOf({}), resolved("a.test", [address], { standing })).action).toBe("deny");
  });
});

describe("what is asked about", () => {
  const ASKING: PolicyText = {
    presets: [{ name: "t", patterns: ["b.test"] }],
    allow: [{ host: "c.test", ports: [8443], paths: ["/x/**"] }],
    ask: "wait",
  };
  const PUSH = "https://a.test/r.git/info/refs?service=git-receive-pack";
  test.each<[string, DecideFacts, "ask" | "deny" | "allow"]>([
    ["an unknown host", request("GET https://a.test/"), "ask"],
    ["a write to it", request("POST https://a.test/", { body: true }), "ask"],
    ["plain HTTP", request("GET http://a.test/"), "ask"],
    ["another method", request("POST https://b.test/", { body: true }), "ask"],
    ["another port", request("GET https://c.test/x/y"), "ask"],
    ["another path", request("GET https://c.test:8443/y"), "ask"],
    ["a path of two readings", request("GET https://c.test:8443/y%2fz"), "ask"],
    ["what is allowed", request("GET https://b.test/"), "allow"],
    ["an address literal", request("GET https://192.0.2.1/"), "deny"],
    ["a push", request(`GET ${PUSH}`), "deny"],
    ["an upgrade", request("GET https://a.test/", { upgrade: true }), "deny"],
    ["an upgrade where the host is allowed", request("GET https://b.test/", { upgrade: true }), "deny"],
    ["an override field", request("POST https://a.test/", { methodOverride: true }), "deny"],
    ["a body with GET", request("GET https://a.test/", { body: true }), "deny"],
    ["a path that nobody can tell", request("GET https://a.test/%252f"), "deny"],
  ])("%s", (_, one, action) => {
    expect(decide(snapshotOf(ASKING), one).action).toBe(action);
  });

  test("the miss is named as it would be denied, and whether it may wait is said", () => {
    const one = request("POST https://b.test/");
    const rule = { id: "preset:t", source: "preset:t" };
    const miss = { reason: "method-not-allowed", rule, shown: undefined };
    expect(decide(snapshotOf(ASKING), one)).toEqual({ action: "ask", ...miss, wait: true });
    expect(decide(snapshotOf({ ...ASKING, ask: "refuse" }), one)).toEqual({
      action: "ask",
      ...miss,
      wait: false,
    });
    expect(decide(snapshotOf({ ...ASKING, ask: "never" }), one)).toEqual({ action: "deny", ...miss });
  });

  test("the rule's own reason is shown where the policy shows rules", () => {
    const text: PolicyText = {
      ask: "wait",
      allow: [{ host: "c.test", methods: ["GET"], reason: "to read" }],
    };
    const one = request("POST https://c.test/");
    expect(decide(snapshotOf({ ...text, showRule: true }), one)).toMatchObject({ shown: "to read" });
    expect(decide(snapshotOf(text), one)).toMatchObject({ shown: undefined });
  });

  test("a tunnel to it begins, to be read: never spliced, never raw, never to an address", () => {
    const spliced: PolicyText = {
      ...ASKING,
      splice: [{ host: "a.test" }],
      tcp: [{ host: "a.test", ports: [22], expires: NOW }],
    };
    const begun = {
      action: "allow",
      rule: { id: "ask", source: "ask" },
      preset: undefined,
      handling: "intercept",
    };
    for (const one of [connect("a.test"), connect("a.test:22"), hello("a.test", "a.test")])
      expect(decide(snapshotOf(spliced), one)).toEqual({ ...begun, wouldDeny: undefined });
    expect(decide(snapshotOf(spliced), hello("a.test", "b.test"))).toMatchObject({ reason: "sni-mismatch" });
    const literal = { ...spliced, allow: [{ host: "192.0.2.1", ports: [80] }] };
    expect(decide(snapshotOf(literal), connect("192.0.2.1"))).toMatchObject({ reason: "port-not-allowed" });
    expect(decide(snapshotOf(spliced), connect("192.0.2.1"))).toMatchObject({ reason: "address-literal" });
  });

  test("a deny rule is not asked about, and a policy that only reports asks nothing", () => {
    const denying = { ...ASKING, deny: [{ host: "a.test", paths: ["/x"] }] };
    expect(decide(snapshotOf(denying), request("GET https://a.test/x"))).toMatchObject({ action: "deny" });
    expect(decide(snapshotOf(denying), request("GET https://a.test/y"))).toMatchObject({ action: "ask" });
    const reporting = snapshotOf({ ...ASKING, mode: "report-only" });
    expect(decide(reporting, request("GET https://a.test/y"))).toMatchObject({
      action: "allow",
      wouldDeny: { reason: "host-not-allowed" },
    });
  });

  test("a grant turns it, for what it names", () => {
    const standing = granted({ methods: ["POST"], paths: ["/x"] });
    expect(decide(snapshotOf(ASKING), request("POST https://a.test/x", { standing })).action).toBe("allow");
    expect(decide(snapshotOf(ASKING), request("POST https://a.test/y", { standing })).action).toBe("ask");
  });
});

describe("properties", () => {
  const grants = fc.array(
    fc.record({ host: NARROWED.host, methods, ports: NARROWED.ports, expires: NARROWED.expires }),
    { minLength: 1, maxLength: 4 },
  );
  const rank = { deny: 0, ask: 1, allow: 2 };

  test("a grant never denies more, and turns nothing but misses", () => {
    fc.assert(
      fc.property(policy, fc.constantFrom("never", "wait"), grants, facts, (text, ask, more, one) => {
        const snapshot = snapshotOf({ ...text, ask });
        const without = decide(snapshot, one);
        const withThem = decide(snapshot, { ...one, standing: granted(...more) });
        expect(rank[withThem.action]).toBeGreaterThanOrEqual(rank[without.action]);
        if (without.action === "allow" && without.wouldDeny === undefined && without.rule.id !== "ask")
          expect(withThem).toEqual(without);
        if (without.action === "deny" && withThem.action === "allow") {
          expect(without.rule?.id).not.toMatch(/^deny/);
          expect(withThem.handling).toBe("intercept");
        }
      }),
      { numRuns: 800 },
    );
  });

  test("a deny rule and a lockdown hold against every grant", () => {
    fc.assert(
      fc.property(policy, grants, facts, (text, more, one) => {
        const standing = granted(...more);
        const deny = [...text.deny!, { host: one.target.host }];
        const enforced = snapshotOf({ ...text, deny, mode: "enforce", ask: "wait" });
        expect(decide(enforced, { ...one, standing }).action).toBe("deny");
        const locked = { ...one, standing: { ...standing, lockdown: LOCKDOWN } };
        expect(decide(snapshotOf({ ...text, ask: "wait" }), locked)).toMatchObject({ reason: "lockdown" });
      }),
      { numRuns: 300 },
    );
  });

  test("to ask allows no request that was denied, and opens no tunnel unread", () => {
    fc.assert(
      fc.property(policy, fc.array(rule, { maxLength: 2 }), facts, (text, splice, one) => {
        const without = decide(snapshotOf({ ...text, splice }), one);
        const asking = decide(snapshotOf({ ...text, splice, ask: "wait" }), one);
        if (one.stage === "request") expect(asking.action === "allow").toBe(without.action === "allow");
        if (without.action === "allow") expect(asking).toEqual(without);
        else if (asking.action === "allow") expect(asking.handling).toBe("intercept");
      }),
      { numRuns: 800 },
    );
  });
});
