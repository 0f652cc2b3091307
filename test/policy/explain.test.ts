import { expect, test } from "vitest";
import { parse } from "yaml";

import { decide } from "../../src/policy/decide.ts";
import { explain } from "../../src/policy/explain.ts";
import type { Facts, Intent } from "../../src/policy/types.ts";
import {
  address,
  connect,
  hello,
  request,
  resolved,
  snapshotOf,
  type PolicyText,
  type RuleText,
} from "./support.ts";

const GITHUB: PolicyText = {
  presets: [{ name: "github", patterns: ["**.github.com"], intents: ["git-fetch", "npm-audit"] }],
};

test("every step is told, and what would turn the denial", () => {
  const policy: PolicyText = {
    ...GITHUB,
    allow: [{ host: "api.github.com", methods: ["POST"], paths: ["/repos/**"], expires: 1 }],
    deny: [{ host: "api.github.com", ports: [80] }],
  };
  const explanation = explain(snapshotOf(policy), request("POST https://api.github.com/repos/a"));
  const rule = { id: "preset:github", source: "preset:github" };
  expect(explanation).toEqual({
    verdict: { action: "deny", reason: "method-not-allowed", rule, shown: undefined },
    steps: [
      {
        name: "deny",
        outcome: "continue",
        rule: { id: "deny[0]", source: "deny:0" },
        because: "narrowed to other ports, methods or paths",
      },
      { name: "allow", outcome: "continue", rule: { id: "allow[0]", source: "allow:0" }, because: "expired" },
      { name: "preset", outcome: "continue", rule, because: "method-not-allowed" },
      {
        name: "default",
        outcome: "deny",
        rule: { id: "default", source: "default" },
        because: "what no rule allows is denied",
      },
    ],
    flip: { rule: "allow: [{ host: api.github.com, methods: [POST] }]" },
  });
});

test("what is allowed needs no turning", () => {
  const explanation = explain(snapshotOf(GITHUB), connect("github.com"));
  expect(explanation.verdict.action).toBe("allow");
  expect(explanation.flip).toBeUndefined();
  expect(explanation.steps.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
    "deny continue",
    "allow continue",
    "preset allow",
  ]);
});

const REPO = "https://github.com/acme/shop.git";
const PULLS: PolicyText = { allow: [{ host: "a.test", methods: ["POST"], paths: ["/x"] }] };
const FLIPS: [string, PolicyText, Facts, string][] = [
  ["a host", {}, connect("a.test"), "allow: [{ host: a.test }]"],
  ["a host, at the ClientHello", {}, hello("a.test", "a.test"), "allow: [{ host: a.test }]"],
  [
    "a host under no methods",
    { methods: [] },
    connect("a.test"),
    "allow: [{ host: a.test, methods: [GET] }]",
  ],
  ["a literal", {}, connect("192.0.2.1"), "allow: [{ host: 192.0.2.1 }]"],
  ["an IPv6 literal", {}, connect("[2001:db8::1]:443"), 'allow: [{ host: "2001:db8::1" }]'],
  ["a name like a number", {}, connect("1e5"), 'allow: [{ host: "1e5" }]'],
  ["a name like a boolean", {}, connect("true"), 'allow: [{ host: "true" }]'],
  [
    "a port",
    { allow: [{ host: "a.test", ports: [443] }] },
    connect("a.test:8443"),
    "allow: [{ host: a.test, ports: [8443] }]",
  ],
  ["a host to read", {}, request("GET https://a.test/x"), "allow: [{ host: a.test }]"],
  ["a host to write to", {}, request("POST https://a.test/x"), "allow: [{ host: a.test, methods: [POST] }]"],
  [
    "a port to write to",
    { allow: [{ host: "a.test", ports: [443] }] },
    request("POST https://a.test:1/"),
    "allow: [{ host: a.test, ports: [1], methods: [POST] }]",
  ],
  [
    "a path",
    PULLS,
    request("POST https://a.test/y"),
    "allow: [{ host: a.test, methods: [POST], paths: [/y] }]",
  ],
  ["a path to read", PULLS, request("GET https://a.test/y"), "allow: [{ host: a.test, paths: [/y] }]"],
  [
    "a path with two readings",
    PULLS,
    request("POST https://a.test/y%2fz"),
    'allow: [{ host: a.test, methods: [POST], paths: [/y/z, "/y%2Fz"] }]',
  ],
  ["a path that no glob can name", PULLS, request("GET https://a.test/**a"), "allow: [{ host: a.test }]"],
  ["an ambiguous path", PULLS, request("GET https://a.test/%252f"), "allow: [{ host: a.test }]"],
  [
    "an upgrade",
    GITHUB,
    request("GET https://github.com/live", { upgrade: true }),
    "allow: [{ host: github.com, methods: all, paths: [/live] }]",
  ],
  [
    "a body, path unclear",
    GITHUB,
    request("GET https://github.com/%252f", { body: true }),
    "allow: [{ host: github.com, methods: all }]",
  ],
  [
    "a push",
    GITHUB,
    request(`GET ${REPO}/info/refs?service=git-receive-pack`),
    "allow: [{ host: github.com, methods: all, paths: [/acme/shop.git/**] }]",
  ],
  ["a fetch", GITHUB, request(`POST ${REPO}/git-upload-pack`), "intents: [git-fetch]"],
  [
    "a fetch from a preset's host that serves no such intent",
    { presets: [{ name: "t", patterns: ["**.a.test"] }] },
    request("POST https://a.test/r/git-upload-pack"),
    "allow: [{ host: a.test, methods: [POST] }]",
  ],
  [
    "an audit",
    { ...GITHUB, intents: ["git-fetch"] },
    request("POST https://github.com/-/npm/v1/security/audits/quick"),
    "intents: [git-fetch, npm-audit]",
  ],
  [
    "a fetch by a rule",
    { allow: [{ host: "github.com" }] },
    request(`POST ${REPO}/git-upload-pack`),
    "intents: [git-fetch]",
  ],
  [
    "a fetch by a rule with its own methods",
    { allow: [{ host: "github.com", methods: ["GET"] }] },
    request(`POST ${REPO}/git-upload-pack`),
    "allow: [{ host: github.com, methods: [POST] }]",
  ],
  [
    "a fetch that a path forbids",
    { allow: [{ host: "github.com", paths: ["/x/**"] }] },
    request(`POST ${REPO}/git-upload-pack`),
    "allow: [{ host: github.com, methods: [POST], paths: [/acme/shop.git/git-upload-pack] }]",
  ],
  [
    "a fetch from elsewhere",
    {},
    request(`POST ${REPO}/git-upload-pack`),
    "allow: [{ host: github.com, methods: [POST] }]",
  ],
  [
    "a fetch under no methods",
    { ...GITHUB, methods: [] },
    request(`POST ${REPO}/git-upload-pack`),
    "allow: [{ host: github.com, methods: [POST] }]",
  ],
  [
    "an address",
    {},
    resolved("a.test", ["10.1.2.3", "127.0.0.1"]),
    "allow: [{ host: a.test, networks: [10.1.2.3/32] }]",
  ],
  [
    "an IPv6 address",
    {},
    resolved("a.test", ["fd00:ec2::254"]),
    'allow: [{ host: a.test, networks: ["fd00:ec2::254/128"] }]',
  ],
  ["what would be denied", { mode: "report-only" }, connect("a.test"), "allow: [{ host: a.test }]"],
];

test.each(FLIPS)("the smallest rule for %s", (_, policy, facts, rule) => {
  expect(explain(snapshotOf(policy), facts).flip).toEqual({ rule });
  const added = parse(rule) as { allow?: RuleText[]; intents?: Intent[] };
  const turned = snapshotOf({
    ...policy,
    ...(added.intents && { intents: added.intents }),
    allow: [...(policy.allow ?? []), ...(added.allow ?? [])],
  });
  expect(explain(turned, facts).flip).toBeUndefined();
});

const OWN = [{ address: address("127.0.0.1"), port: 443 }];
test.each<[string, PolicyText, Facts, string]>([
  [
    "a deny rule",
    { deny: [{ host: "a.test" }] },
    connect("a.test"),
    "no rule outranks a deny rule: change or remove deny[0] (deny:0)",
  ],
  [
    "a deny rule for an address",
    { deny: [{ host: "1.1.1.1" }] },
    resolved("a.test", ["1.1.1.1"]),
    "no rule outranks a deny rule: change or remove deny[0] (deny:0)",
  ],
  ["a missing policy", {}, connect("a.test", { policy: "gone" }), "there is no policy named `gone`"],
  [
    "another server name",
    GITHUB,
    hello("a.test", "b.test"),
    "the TLS server name must be the host of the tunnel",
  ],
  [
    "the proxy itself",
    {},
    resolved("a.test", ["127.0.0.1"], { own: OWN }),
    "the proxy never connects to itself",
  ],
  ["no address", {}, resolved("a.test", []), "no allow rule can permit this"],
])("no rule helps against %s", (_, policy, facts, impossible) => {
  expect(explain(snapshotOf(policy), facts).flip).toEqual({ impossible });
});

test("what is unread and what is lifted is told too", () => {
  const names = (policy: PolicyText, facts: Facts): string[] =>
    explain(snapshotOf(policy), facts).steps.map(
      ({ name, outcome, because }) => `${name} ${outcome}: ${because}`,
    );
  const splice = [{ host: "a.test" }];
  expect(names({ splice, allow: [{ host: "a.test", methods: "all" }] }, connect("a.test"))).toEqual([
    "deny continue: no deny rule names this host",
    "allow allow: allowed",
    "splice allow: passed unread",
  ]);
  expect(names({ splice, allow: [{ host: "a.test" }] }, connect("a.test"))).toEqual([
    "deny continue: no deny rule names this host",
    "allow allow: allowed",
    "splice continue: limited by method or path, so it is read all the same",
  ]);
  expect(names({ mode: "report-only", deny: [{ host: "a.test", expires: 1 }] }, connect("a.test"))).toEqual([
    "deny continue: expired",
    "allow continue: no allow rule names this host",
    "preset continue: no preset names this host",
    "default deny: what no rule allows is denied",
    "report-only allow: the policy only reports",
  ]);
  expect(names({}, resolved("a.test", ["10.0.0.1", "1.1.1.1"]))).toEqual([
    "address deny: 10.0.0.1: address-private",
    "address allow: 1.1.1.1: may be dialed",
  ]);
  expect(names({}, connect("a.test", { policy: "gone" }))).toEqual([
    "policy deny: there is no policy named `gone`",
  ]);
  expect(names({}, hello("a.test", "b.test"))).toEqual([
    "server-name deny: the TLS server name is not the host of the tunnel",
  ]);
});

test("an explained verdict is the verdict", () => {
  for (const [, policy, facts] of FLIPS) {
    if (facts.stage === "address") continue;
    const snapshot = snapshotOf(policy);
    expect(explain(snapshot, facts).verdict).toEqual(decide(snapshot, facts));
  }
});
