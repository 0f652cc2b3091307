import { expect, test } from "vitest";

import { decide } from "../../src/policy/decide.ts";
import type { DecideFacts } from "../../src/policy/grant.ts";
import type { Verdict } from "../../src/policy/types.ts";
import { connect, hello, NOW, request, shipped, snapshotOf, type PolicyText } from "./support.ts";

/** `allow allow[0]`, `splice preset:npm`, `deny host-not-allowed default`, `report host-denied deny[0]`. */
function told(verdict: Verdict): string {
  if (verdict.action !== "allow") return `${verdict.action} ${verdict.reason} ${verdict.rule?.id ?? "-"}`;
  if (verdict.wouldDeny) return `report ${verdict.wouldDeny.reason} ${verdict.wouldDeny.rule?.id ?? "-"}`;
  return `${verdict.handling === "splice" ? "splice" : "allow"} ${verdict.rule.id}`;
}

function verdictOf(policy: PolicyText, facts: DecideFacts): string {
  return told(decide(snapshotOf(policy), facts));
}

const NPM: PolicyText = { presets: [{ name: "npm", patterns: ["**.npmjs.org"] }] };
const ALL: PolicyText = { presets: [{ name: "all", patterns: [] }] };

test("verdicts, whole", () => {
  const snapshot = snapshotOf({
    ...NPM,
    showRule: true,
    deny: [{ host: "evil.npmjs.org", reason: "leaks" }],
  });
  expect(decide(snapshot, request("GET https://packages.npmjs.org/"))).toEqual({
    action: "allow",
    rule: { id: "preset:npm", source: "preset:npm" },
    preset: "npm",
    handling: "intercept",
    wouldDeny: undefined,
  });
  expect(decide(snapshot, connect("evil.npmjs.org:443"))).toEqual({
    action: "deny",
    reason: "host-denied",
    rule: { id: "deny[0]", source: "deny:0", reason: "leaks" },
    shown: "leaks",
  });
  expect(decide(snapshot, connect("example.com:443"))).toEqual({
    action: "deny",
    reason: "host-not-allowed",
    rule: { id: "default", source: "default" },
    shown: undefined,
  });
});

test("absence denies", () => {
  const facts = request("GET https://packages.npmjs.org/", { policy: "gone" });
  expect(decide(snapshotOf({ ...NPM, mode: "report-only" }), facts)).toEqual({
    action: "deny",
    reason: "host-not-allowed",
    rule: undefined,
    shown: undefined,
  });
  expect(verdictOf({}, connect("example.com:443"))).toBe("deny host-not-allowed default");
});

test("a rule's reason is shown only where the policy says so", () => {
  const deny = [{ host: "example.com", reason: "inside text" }];
  const shown = (showRule: boolean): unknown => {
    const verdict = decide(snapshotOf({ deny, showRule }), connect("example.com"));
    return verdict.action === "deny" && verdict.shown;
  };
  expect([shown(true), shown(false)]).toEqual(["inside text", undefined]);
});

const AT_CONNECT: [string, PolicyText, string, string][] = [
  ["preset, any port", NPM, "packages.npmjs.org:8443", "allow preset:npm"],
  ["preset `all`", ALL, "anything.test:443", "allow preset:all"],
  ["preset `all`, single label", ALL, "localhost:443", "allow preset:all"],
  ["preset `all`, no literal", ALL, "192.0.2.1:443", "deny address-literal default"],
  ["preset `all`, no IPv6 literal", ALL, "[2001:db8::1]:443", "deny address-literal default"],
  [
    "a named preset before `all`",
    { presets: [...ALL.presets!, ...NPM.presets!] },
    "npmjs.org:443",
    "allow preset:npm",
  ],
  ["literal named", { allow: [{ host: "192.0.2.1" }] }, "192.0.2.1:443", "allow allow[0]"],
  ["literal in a named network", { allow: [{ host: "192.0.2.0/24" }] }, "192.0.2.1:443", "allow allow[0]"],
  [
    "literal beside it",
    { allow: [{ host: "192.0.2.0/24" }] },
    "192.0.3.1:443",
    "deny address-literal default",
  ],
  [
    "the rule before the preset",
    { ...NPM, allow: [{ host: "npmjs.org" }] },
    "npmjs.org:443",
    "allow allow[0]",
  ],
  ["port in the list", { allow: [{ host: "a.test", ports: [8443] }] }, "a.test:8443", "allow allow[0]"],
  [
    "port not in the list",
    { allow: [{ host: "a.test", ports: [8443] }] },
    "a.test:443",
    "deny port-not-allowed allow[0]",
  ],
  [
    "no ports at all",
    { allow: [{ host: "a.test", ports: [] }] },
    "a.test:443",
    "deny port-not-allowed allow[0]",
  ],
  [
    "could grant a POST",
    { allow: [{ host: "a.test", methods: ["POST"], paths: ["/x"] }] },
    "a.test:443",
    "allow allow[0]",
  ],
  [
    "no methods at all",
    { allow: [{ host: "a.test", methods: [] }] },
    "a.test:443",
    "deny method-not-allowed allow[0]",
  ],
  [
    "no paths at all",
    { allow: [{ host: "a.test", paths: [] }] },
    "a.test:443",
    "deny path-not-allowed allow[0]",
  ],
  [
    "no methods in the policy",
    { ...NPM, methods: [] },
    "npmjs.org:443",
    "deny method-not-allowed preset:npm",
  ],
  [
    "no methods, though an intent",
    { ...NPM, methods: [], intents: ["git-fetch"] },
    "npmjs.org:443",
    "deny method-not-allowed preset:npm",
  ],
  [
    "deny beats allow",
    { allow: [{ host: "a.test" }], deny: [{ host: "**.test" }] },
    "a.test:443",
    "deny host-denied deny[0]",
  ],
  [
    "deny by port",
    { ...ALL, deny: [{ host: "a.test", ports: [22] }] },
    "a.test:22",
    "deny host-denied deny[0]",
  ],
  [
    "deny by another port",
    { ...ALL, deny: [{ host: "a.test", ports: [22] }] },
    "a.test:443",
    "allow preset:all",
  ],
  [
    "deny by method waits",
    { ...ALL, deny: [{ host: "a.test", methods: ["POST"] }] },
    "a.test:443",
    "allow preset:all",
  ],
  [
    "deny of all methods does not",
    { ...ALL, deny: [{ host: "a.test", methods: "all" }] },
    "a.test:443",
    "deny host-denied deny[0]",
  ],
  [
    "deny by path waits",
    { ...ALL, deny: [{ host: "a.test", paths: ["/x"] }] },
    "a.test:443",
    "allow preset:all",
  ],
  [
    "the first of two denials",
    { deny: [{ host: "**.a.test" }, { host: "b.a.test" }] },
    "b.a.test:443",
    "deny host-denied deny[0]",
  ],
  [
    "in the order of writing",
    { deny: [{ host: "b.a.test" }, { host: "**.a.test" }] },
    "b.a.test:443",
    "deny host-denied deny[0]",
  ],
  [
    "two zones of one preset",
    { presets: [{ name: "u", patterns: ["**.a.test", "**.b.a.test"] }] },
    "x.b.a.test:1",
    "allow preset:u",
  ],
  [
    "expired allow",
    { allow: [{ host: "a.test", expires: NOW }] },
    "a.test:443",
    "deny host-not-allowed default",
  ],
  ["allow until then", { allow: [{ host: "a.test", expires: NOW + 1 }] }, "a.test:443", "allow allow[0]"],
  ["expired deny", { ...ALL, deny: [{ host: "a.test", expires: NOW }] }, "a.test:443", "allow preset:all"],
  [
    "deny until then",
    { ...ALL, deny: [{ host: "a.test", expires: NOW + 1 }] },
    "a.test:443",
    "deny host-denied deny[0]",
  ],
  // The nearest miss is told: a rule that names the host counts more than none, a method more than a port.
  [
    "nearest of two",
    { ...NPM, methods: [], allow: [{ host: "npmjs.org", ports: [1] }] },
    "npmjs.org:443",
    "deny method-not-allowed preset:npm",
  ],
  [
    "first of two alike",
    {
      allow: [
        { host: "**.test", ports: [1] },
        { host: "a.test", ports: [2] },
      ],
    },
    "a.test:443",
    "deny port-not-allowed allow[0]",
  ],
];
test.each(AT_CONNECT)("connect: %s", (_, policy, target, expected) => {
  expect(verdictOf(policy, connect(target))).toBe(expected);
  // Nothing new is known at the ClientHello, with or without a name in it.
  expect(verdictOf(policy, hello(target, undefined))).toBe(expected);
});

test.each([
  ["a.test", "allow preset:all"],
  [undefined, "allow preset:all"],
  ["b.test", "deny sni-mismatch -"],
  ["a.test.evil.test", "deny sni-mismatch -"],
] as const)("client-hello: a tunnel to a.test with SNI %s", (sni, expected) => {
  expect(verdictOf(ALL, hello("a.test:443", sni))).toBe(expected);
  // Never lifted: report-only too must know where a tunnel goes.
  expect(verdictOf({ ...ALL, mode: "report-only" }, hello("a.test:443", sni))).toBe(expected);
});

const SPLICED: PolicyText = { splice: [{ host: "a.test" }] };
const UNLIMITED = { host: "a.test", methods: "all" } as const;
const AT_SPLICE: [string, PolicyText, string][] = [
  ["allowed with all methods", { ...SPLICED, allow: [UNLIMITED] }, "splice allow[0]"],
  ["allowed by a preset with all methods", { ...SPLICED, ...ALL, methods: "all" }, "splice preset:all"],
  ["any unlimited grant will do", { ...SPLICED, allow: [{ host: "a.test" }, UNLIMITED] }, "splice allow[1]"],
  ["does not grant", SPLICED, "deny host-not-allowed default"],
  ["limited by the policy's methods", { ...SPLICED, allow: [{ host: "a.test" }] }, "allow allow[0]"],
  ["limited by paths", { ...SPLICED, allow: [{ ...UNLIMITED, paths: ["/**"] }] }, "allow allow[0]"],
  [
    "limited by a deny rule",
    { ...SPLICED, allow: [UNLIMITED], deny: [{ host: "a.test", paths: ["/x"] }] },
    "allow allow[0]",
  ],
  [
    "not by one for other ports",
    { ...SPLICED, allow: [UNLIMITED], deny: [{ host: "a.test", ports: [1] }] },
    "splice allow[0]",
  ],
  [
    "not by one that expired",
    { ...SPLICED, allow: [UNLIMITED], deny: [{ host: "a.test", paths: ["/x"], expires: NOW }] },
    "splice allow[0]",
  ],
  ["for another port", { splice: [{ host: "a.test", ports: [1] }], allow: [UNLIMITED] }, "allow allow[0]"],
  ["for this port", { splice: [{ host: "a.test", ports: [443] }], allow: [UNLIMITED] }, "splice allow[0]"],
  ["expired", { splice: [{ host: "a.test", expires: NOW }], allow: [UNLIMITED] }, "allow allow[0]"],
  ["as would be, report-only", { ...SPLICED, allow: [UNLIMITED], mode: "report-only" }, "splice allow[0]"],
];
test.each(AT_SPLICE)("splice: %s", (_, policy, expected) => {
  expect(verdictOf(policy, connect("a.test:443"))).toBe(expected);
  expect(verdictOf(policy, hello("a.test:443", "a.test"))).toBe(expected);
  // A request that could be read was not spliced.
  expect(verdictOf(policy, request("GET https://a.test/"))).not.toMatch(/^splice/);
});

const PULLS: PolicyText = {
  presets: [{ name: "github", patterns: ["**.github.com"] }],
  allow: [{ host: "api.github.com", methods: ["POST"], paths: ["/repos/acme/*/pulls"] }],
};
const AT_REQUEST: [string, PolicyText, string, string][] = [
  ["read-only", NPM, "GET https://packages.npmjs.org/left-pad", "allow preset:npm"],
  ["read-only, plain HTTP", NPM, "HEAD http://packages.npmjs.org/left-pad", "allow preset:npm"],
  ["read-only, OPTIONS", NPM, "OPTIONS https://packages.npmjs.org/", "allow preset:npm"],
  ["read-only refuses POST", NPM, "POST https://packages.npmjs.org/", "deny method-not-allowed preset:npm"],
  ["methods are exact", NPM, "get https://packages.npmjs.org/", "deny method-not-allowed preset:npm"],
  ["TRACE is not reading", NPM, "TRACE https://packages.npmjs.org/", "deny method-not-allowed preset:npm"],
  ["TRACE among all", { ...NPM, methods: "all" }, "TRACE https://packages.npmjs.org/", "allow preset:npm"],
  ["TRACE listed", { ...NPM, methods: ["TRACE"] }, "TRACE https://packages.npmjs.org/", "allow preset:npm"],
  ["a rule widens the methods", PULLS, "POST https://api.github.com/repos/acme/shop/pulls", "allow allow[0]"],
  [
    "beside it the preset holds",
    PULLS,
    "GET https://api.github.com/repos/acme/shop/pulls",
    "allow preset:github",
  ],
  [
    "not for other paths",
    PULLS,
    "POST https://api.github.com/repos/evil/x/pulls",
    "deny method-not-allowed preset:github",
  ],
  [
    "not by dot segments",
    PULLS,
    "POST https://api.github.com/repos/acme/x/pulls/../../../evil",
    "deny method-not-allowed preset:github",
  ],
  [
    "not for other methods",
    PULLS,
    "PUT https://api.github.com/repos/acme/shop/pulls",
    "deny method-not-allowed allow[0]",
  ],
  [
    "path missed",
    { allow: PULLS.allow! },
    "POST https://api.github.com/gists",
    "deny path-not-allowed allow[0]",
  ],
  [
    "path ambiguous",
    { allow: PULLS.allow! },
    "POST https://api.github.com/repos/acme/a%252fb/pulls",
    "deny path-ambiguous allow[0]",
  ],
  [
    "path with two readings, one missed",
    { allow: PULLS.allow! },
    "POST https://api.github.com/repos/acme%2Fx/pulls",
    "deny path-not-allowed allow[0]",
  ],
  ["ambiguous without path rules", NPM, "GET https://packages.npmjs.org/a%252fb", "allow preset:npm"],
  [
    "no paths at all, ambiguous",
    { allow: [{ host: "a.test", paths: [] }] },
    "GET https://a.test/a%252f",
    "deny path-ambiguous allow[0]",
  ],
  [
    "port before path",
    { allow: [{ host: "a.test", ports: [1], paths: ["/x"] }] },
    "GET https://a.test/y",
    "deny port-not-allowed allow[0]",
  ],
  [
    "deny by method",
    { ...ALL, methods: "all", deny: [{ host: "a.test", methods: ["POST"] }] },
    "POST https://a.test/",
    "deny host-denied deny[0]",
  ],
  [
    "deny by method, lower case",
    { ...ALL, methods: "all", deny: [{ host: "a.test", methods: ["POST"] }] },
    "post https://a.test/",
    "deny host-denied deny[0]",
  ],
  [
    "deny by another method",
    { ...ALL, deny: [{ host: "a.test", methods: ["POST"] }] },
    "GET https://a.test/",
    "allow preset:all",
  ],
  [
    "deny by path",
    { ...ALL, deny: [{ host: "a.test", paths: ["/admin/**"] }] },
    "GET https://a.test/admin/x",
    "deny host-denied deny[0]",
  ],
  [
    "deny by one reading",
    { ...ALL, deny: [{ host: "a.test", paths: ["/admin/**"] }] },
    "GET https://a.test/admin%2Fx",
    "deny host-denied deny[0]",
  ],
  [
    "deny by dot segments",
    { ...ALL, deny: [{ host: "a.test", paths: ["/admin/**"] }] },
    "GET https://a.test/x/%2e%2e/admin/x",
    "deny host-denied deny[0]",
  ],
  [
    "deny what may be it",
    { ...ALL, deny: [{ host: "a.test", paths: ["/admin/**"] }] },
    "GET https://a.test/a%252fb",
    "deny path-ambiguous deny[0]",
  ],
  [
    "deny by another path",
    { ...ALL, deny: [{ host: "a.test", paths: ["/admin/**"] }] },
    "GET https://a.test/x",
    "allow preset:all",
  ],
  [
    "deny by path and port",
    { ...ALL, deny: [{ host: "a.test", ports: [80], paths: ["/**"] }] },
    "GET https://a.test/x",
    "allow preset:all",
  ],
];
test.each(AT_REQUEST)("request: %s", (_, policy, line, expected) => {
  expect(verdictOf(policy, request(line))).toBe(expected);
});

const SMUGGLED: [string, Partial<Parameters<typeof request>[1] & object>, string][] = [
  ["GET", { upgrade: true }, "upgrade-not-allowed"],
  ["GET", { methodOverride: true }, "method-override"],
  ["GET", { body: true }, "body-not-allowed"],
  ["HEAD", { body: true }, "body-not-allowed"],
  ["OPTIONS", { body: true }, "body-not-allowed"],
  ["GET", { upgrade: true, methodOverride: true, body: true }, "upgrade-not-allowed"],
];
test.each(SMUGGLED)("smuggled past a method limit: %s %j", (method, flags, reason) => {
  const facts = request(`${method} https://packages.npmjs.org/`, flags);
  expect(verdictOf(NPM, facts)).toBe(`deny ${reason} preset:npm`);
  expect(verdictOf({ allow: [{ host: "**.npmjs.org", methods: [method] }] }, facts)).toBe(
    `deny ${reason} allow[0]`,
  );
  expect(verdictOf({ ...NPM, methods: "all" }, facts)).toBe("allow preset:npm");
});

test("a listed method takes its body", () => {
  expect(verdictOf(PULLS, request("POST https://api.github.com/repos/acme/shop/pulls", { body: true }))).toBe(
    "allow allow[0]",
  );
});

test("an override field is any method that a deny rule names", () => {
  const policy: PolicyText = { ...ALL, methods: "all", deny: [{ host: "a.test", methods: ["DELETE"] }] };
  expect(verdictOf(policy, request("POST https://a.test/", { methodOverride: true }))).toBe(
    "deny method-override deny[0]",
  );
  expect(verdictOf(policy, request("POST https://b.test/", { methodOverride: true }))).toBe(
    "allow preset:all",
  );
});

test.each([
  [connect("b.test:443"), "report host-not-allowed default"],
  [connect("192.0.2.1:443"), "report address-literal default"],
  [connect("a.test:1"), "report port-not-allowed allow[0]"],
  [request("POST https://a.test/"), "report method-not-allowed allow[0]"],
  [request("GET https://a.test/", { upgrade: true }), "report upgrade-not-allowed allow[0]"],
  [request("GET https://denied.test/"), "report host-denied deny[0]"],
  [request("GET https://a.test/"), "allow allow[0]"],
])("report-only lifts, and tells: %o", (facts, expected) => {
  const policy: PolicyText = {
    mode: "report-only",
    allow: [{ host: "a.test", ports: [443] }],
    deny: [{ host: "denied.test" }],
  };
  expect(verdictOf(policy, facts)).toBe(expected);
});

test("report-only verdict, whole", () => {
  const rule = { id: "default", source: "default" };
  expect(decide(snapshotOf({ mode: "report-only" }), connect("a.test"))).toEqual({
    action: "allow",
    rule,
    preset: undefined,
    handling: "intercept",
    wouldDeny: { reason: "host-not-allowed", rule },
  });
});

test("the textbook attack, and the fetching beside it", () => {
  const policy: PolicyText = { presets: shipped("common-dependencies"), intents: ["git-fetch"] };
  expect(verdictOf(policy, request("POST https://attacker.example/collect", { body: true }))).toBe(
    "deny host-not-allowed default",
  );
  expect(verdictOf(policy, request("POST https://gist.github.com/", { body: true }))).toBe(
    "deny method-not-allowed preset:github",
  );
  expect(verdictOf(policy, request("GET https://packages.npmjs.org/left-pad"))).toBe("allow preset:npm");
});
