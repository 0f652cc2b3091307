// Raw TCP: what a `tcp` rule passes, what it cannot widen, and what is an error at load because nobody could hold it.

import { expect, test } from "vitest";
import { admit, decide } from "../../src/policy/decide.ts";
import { explain } from "../../src/policy/explain.ts";
import { lint } from "../../src/policy/lint.ts";
import type { Facts } from "../../src/policy/types.ts";
import {
  connect,
  hello,
  NOW,
  policyOf,
  type PolicyText,
  problemsOf,
  request,
  resolved,
  snapshotOf,
} from "./support.ts";

function at(policy: PolicyText, facts: Facts): string {
  const snapshot = snapshotOf(policy);
  const verdict = facts.stage === "address" ? admit(snapshot, facts) : decide(snapshot, facts);
  if (verdict.action !== "allow") return `${verdict.action} ${verdict.reason}`;
  return "pinned" in verdict ? `dial ${verdict.pinned.join(" ")}` : `${verdict.handling} ${verdict.rule.id}`;
}

const RAW = { host: "a.test", ports: [22] };
const TCP: PolicyText = { tcp: [RAW] };
const all = { host: "a.test", methods: "all" } as const;

test.each<[string, PolicyText, Facts, string]>([
  ["its port", TCP, connect("a.test:22"), "tcp tcp[0]"],
  ["another port", TCP, connect("a.test:23"), "deny host-not-allowed"],
  ["another host", TCP, connect("b.a.test:22"), "deny host-not-allowed"],
  ["a wildcard", { tcp: [{ ...RAW, host: "**.test" }] }, connect("b.a.test:22"), "tcp tcp[0]"],
  ["the second of two", { tcp: [{ ...RAW, ports: [1] }, RAW] }, connect("a.test:22"), "tcp tcp[1]"],
  ["an address", { tcp: [{ ...RAW, host: "192.0.2.1" }] }, connect("192.0.2.1:22"), "tcp tcp[0]"],
  ["a network", { tcp: [{ ...RAW, host: "192.0.2.0/24" }] }, connect("192.0.2.1:22"), "tcp tcp[0]"],
  ["no address by a name", TCP, connect("192.0.2.1:22"), "deny address-literal"],
  ["until it expires", { tcp: [{ ...RAW, expires: NOW + 1 }] }, connect("a.test:22"), "tcp tcp[0]"],
  ["not when it has", { tcp: [{ ...RAW, expires: NOW }] }, connect("a.test:22"), "deny host-not-allowed"],
  ["deny rules beat it", { ...TCP, deny: [{ host: "*.test" }] }, connect("a.test:22"), "deny host-denied"],
  [
    "a deny rule for another port",
    { ...TCP, deny: [{ host: "a.test", ports: [23] }] },
    connect("a.test:22"),
    "tcp tcp[0]",
  ],
  ["an allow rule for the port", { ...TCP, allow: [all] }, connect("a.test:22"), "tcp tcp[0]"],
  ["splice for the port", { ...TCP, allow: [all], splice: [RAW] }, connect("a.test:22"), "tcp tcp[0]"],
  ["report-only", { ...TCP, mode: "report-only" }, connect("a.test:22"), "tcp tcp[0]"],
  // Nothing but a tunnel is raw.
  ["a request to its port", TCP, request("GET http://a.test:22/"), "deny host-not-allowed"],
  ["a ClientHello to its port", TCP, hello("a.test:22", "a.test"), "deny host-not-allowed"],
  [
    "a request, limited as ever",
    { ...TCP, allow: [{ host: "a.test" }] },
    request("POST http://a.test:22/"),
    "deny method-not-allowed",
  ],
  // What could not be held is not lifted.
  [
    "a limited rule that names the port",
    { ...TCP, allow: [{ host: "a.test", ports: [22] }] },
    connect("a.test:22"),
    "intercept allow[0]",
  ],
  [
    "a limited rule for every port",
    { ...TCP, allow: [{ host: "a.test" }] },
    connect("a.test:22"),
    "tcp tcp[0]",
  ],
  [
    "that on a port of HTTP",
    { tcp: [{ host: "a.test", ports: [443] }], allow: [{ host: "a.test" }] },
    connect("a.test:443"),
    "intercept allow[0]",
  ],
  [
    "an unlimited one on a port of HTTP",
    { tcp: [{ host: "a.test", ports: [443] }], allow: [all] },
    connect("a.test:443"),
    "tcp tcp[0]",
  ],
  [
    "a limited rule that has expired",
    { ...TCP, allow: [{ ...RAW, expires: NOW }] },
    connect("a.test:22"),
    "tcp tcp[0]",
  ],
  [
    "a narrowed deny rule",
    { ...TCP, allow: [all], deny: [{ host: "a.test", methods: ["POST"] }] },
    connect("a.test:22"),
    "intercept allow[0]",
  ],
])("%s", (_, policy, facts, expected) => expect(at(policy, facts)).toBe(expected));

const LOCAL = { ...RAW, networks: ["10.0.0.0/8"] };

test.each<[string, PolicyText, boolean, string]>([
  ["its networks are for raw TCP", { tcp: [LOCAL] }, true, "dial 10.1.1.1"],
  ["and for nothing else", { tcp: [LOCAL], allow: [all] }, false, "deny address-private"],
  [
    "nor are those of allow rules for it",
    { ...TCP, allow: [{ ...all, networks: ["10.0.0.0/8"] }] },
    true,
    "deny address-private",
  ],
  ["nor those of another port", { tcp: [RAW, { ...LOCAL, ports: [23] }] }, true, "deny address-private"],
])("address guard: %s", (_, policy, tcp, expected) => {
  expect(at(policy, resolved("a.test:22", ["10.1.1.1"], { tcp }))).toBe(expected);
});

test("the proxy's own port is never dialed", () => {
  const own = [{ address: resolved("a.test", ["10.1.1.1"]).addresses[0]!, port: 22 }];
  expect(at({ tcp: [LOCAL] }, resolved("a.test:22", ["10.1.1.1"], { tcp: true, own }))).toBe(
    "deny address-own",
  );
});

test("what would let a private address pass is a tcp rule", () => {
  const { flip } = explain(snapshotOf(TCP), resolved("a.test:22", ["10.1.1.1"], { tcp: true }));
  expect(flip).toEqual({ rule: "tcp: [{ host: a.test, ports: [22], networks: [10.1.1.1/32] }]" });
  const bad = explain(snapshotOf(TCP), resolved("a.test:22", ["::ffff:10.1.1.1"], { tcp: true }));
  expect(bad.flip).toBeDefined();
});

test("a rule without ports, or with none, is a problem", () => {
  expect(problemsOf({ tcp: [{ host: "a.test" }, { host: "a.test", ports: [] }] })).toEqual([
    "tcp:0: a tcp rule names its ports",
    "tcp:1: an empty `ports` makes this tcp rule match nothing; leave it out",
  ]);
});

const found = (policy: PolicyText): string[] =>
  lint({ generation: 1, policies: [policyOf(policy)] }).map(
    ({ severity, source, message }) => `${severity} ${source}: ${message}`,
  );
const npm = { name: "npm", patterns: ["a.test"] };
const WEB = { tcp: [{ host: "a.test", ports: [22, 443] }] };
const held = (name: string) =>
  `error tcp:0: \`a.test\` is not read on that port, so ${name} could not be held to`;

test.each<[string, PolicyText, string[]]>([
  ["alone", TCP, []],
  ["beside a limited preset", { ...TCP, presets: [npm] }, []],
  ["over a limited preset, on a port of HTTP", { ...WEB, presets: [npm] }, [held("preset npm")]],
  ["over an unlimited one", { ...WEB, presets: [npm], methods: "all" }, []],
  [
    "over a limited rule for the port",
    { ...TCP, allow: [{ ...RAW, methods: ["GET"] }] },
    [held("the rule at allow:0")],
  ],
  ["over one for another port", { ...TCP, allow: [{ host: "a.test", ports: [23] }] }, []],
  [
    "under a narrowed deny rule",
    { ...TCP, deny: [{ host: "*.test", paths: ["/x"] }] },
    ["error tcp:0: `a.test` is not read, so the deny rule at deny:0 could not be held to"],
  ],
  ["under one for another port", { ...TCP, deny: [{ host: "a.test", ports: [443], methods: ["PUT"] }] }, []],
  ["under a whole deny rule", { ...TCP, deny: [{ host: "a.test" }] }, []],
  [
    "narrowed by methods",
    { tcp: [{ ...RAW, methods: ["GET"] }] },
    ["error tcp:0: a tcp rule cannot be narrowed by `methods`: what it passes is not read"],
  ],
  [
    "a wildcard",
    { tcp: [{ ...RAW, host: "*.a.test" }] },
    ["warning tcp:0: `*.a.test` opens raw TCP to more than one host; name each"],
  ],
  [
    "a network",
    { tcp: [{ ...RAW, host: "10.0.0.0/8" }] },
    ["warning tcp:0: `10.0.0.0/8` opens raw TCP to more than one host; name each"],
  ],
  ["an address", { tcp: [{ ...RAW, host: "10.0.0.1" }] }, []],
  [
    "every network",
    { tcp: [{ ...RAW, networks: ["0.0.0.0/0"] }] },
    ["warning tcp:0: `0.0.0.0/0` opens every private network to this host's DNS"],
  ],
  ["without ports, which compile refuses", { tcp: [{ host: "a.test" }] }, []],
  ["what compile refuses", { tcp: [{ ...RAW, host: "A.test" }] }, []],
])("lint: %s", (_, policy, expected) => expect(found(policy)).toEqual(expected));
