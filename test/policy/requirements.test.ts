// What an administrator requires, against policies that exceed it: each is found at load, key by key, and what slips through is
// denied all the same, at every stage.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseHost } from "../../src/net/host.ts";
import { compile, compileGrants, type Snapshot } from "../../src/policy/compile.ts";
import { admit, decide } from "../../src/policy/decide.ts";
import { excessOf, excessOfException, type Exception } from "../../src/policy/exceed.ts";
import { explain } from "../../src/policy/explain.ts";
import { admitName } from "../../src/policy/parent.ts";
import type { DecideFacts } from "../../src/policy/grant.ts";
import type { Requirements } from "../../src/policy/requirements.ts";
import type { Preset } from "../../src/policy/types.ts";
import * as arbitrary from "./arbitraries.ts";
import {
  connect,
  hello,
  limit,
  NOW,
  policyOf,
  type PolicyText,
  READ_ONLY,
  request,
  requirementsOf,
  resolved,
  snapshotOf,
  snapshotUnder,
} from "./support.ts";

const ALL: Preset = { name: "all", patterns: [] };
const NPM: Preset = { name: "npm", patterns: ["**.npmjs.org"], by: ["common"] };
const DAY = 86_400_000;
const UPLOAD = { name: "upload", host: undefined, limit: 10, perMs: 0, source: "required.yaml:1:1" } as const;
const WIDE: PolicyText = { methods: "all", presets: [ALL] };

function told(snapshot: Snapshot, facts: DecideFacts): string {
  const verdict = decide(snapshot, facts);
  if (verdict.action !== "allow") return `${verdict.action} ${verdict.reason} ${String(verdict.rule?.id)}`;
  return verdict.wouldDeny === undefined ? verdict.handling : `reports ${verdict.wouldDeny.reason}`;
}

type Slip = {
  readonly what: string;
  readonly requires: Partial<Requirements>;
  readonly policy: PolicyText;
  readonly asked: DecideFacts;
  /** With the policy alone, then as required. */
  readonly verdicts: readonly [string, string];
};

const slips: readonly Slip[] = [
  {
    what: "a preset that may not be used grants nothing",
    requires: { presets: limit(["npm"]) },
    policy: { presets: [ALL, NPM] },
    asked: request("GET https://a.example/"),
    verdicts: ["intercept", "deny host-not-allowed default"],
  },
  {
    what: "one that may be used does",
    requires: { presets: limit(["npm"]) },
    policy: { presets: [ALL, NPM] },
    asked: request("GET https://packages.npmjs.org/"),
    verdicts: ["intercept", "intercept"],
  },
  {
    what: "a method beyond the widest",
    requires: { methods: limit(READ_ONLY) },
    policy: WIDE,
    asked: request("POST https://a.example/"),
    verdicts: ["intercept", "deny requirement requirement:methods"],
  },
  {
    what: "an upgrade, which no limit of methods holds",
    requires: { methods: limit(READ_ONLY) },
    policy: WIDE,
    asked: request("GET https://a.example/", { upgrade: true }),
    verdicts: ["intercept", "deny requirement requirement:methods"],
  },
  {
    what: "a method that another field may override",
    requires: { methods: limit(READ_ONLY) },
    policy: WIDE,
    asked: request("GET https://a.example/", { methodOverride: true }),
    verdicts: ["intercept", "deny requirement requirement:methods"],
  },
  {
    what: "a clone, where the intent may be used",
    requires: { methods: limit(READ_ONLY), intents: ["git-fetch"] },
    policy: WIDE,
    asked: request("POST https://a.example/r.git/git-upload-pack", { body: true }),
    verdicts: ["intercept", "intercept"],
  },
  {
    what: "a clone, where it may not",
    requires: { methods: limit(READ_ONLY) },
    policy: WIDE,
    asked: request("POST https://a.example/r.git/git-upload-pack", { body: true }),
    verdicts: ["intercept", "deny requirement requirement:methods"],
  },
  {
    what: "a tunnel, where no method may be allowed",
    requires: { methods: limit([]), intents: ["git-fetch"] },
    policy: WIDE,
    asked: connect("a.example:443"),
    verdicts: ["intercept", "deny requirement requirement:methods"],
  },
  {
    what: "a host that is always denied, by the tunnel",
    requires: { deny: [limit("b.example"), limit("**.a.example")] },
    policy: WIDE,
    asked: connect("x.a.example:443"),
    verdicts: ["intercept", "deny requirement requirement:deny"],
  },
  {
    what: "a host that is always denied, by its server name",
    requires: { deny: [limit("a.example")] },
    policy: WIDE,
    asked: hello("a.example:443", "a.example"),
    verdicts: ["intercept", "deny requirement requirement:deny"],
  },
  {
    what: "an address in a network that is always denied",
    requires: { deny: [limit("192.0.2.0/24")] },
    policy: { allow: [{ host: "192.0.2.7" }] },
    asked: request("GET http://192.0.2.7/"),
    verdicts: ["intercept", "deny requirement requirement:deny"],
  },
  {
    what: "a host that is not among those that may be allowed",
    requires: { hosts: limit(["**.npmjs.org", "10.0.0.0/8"]) },
    policy: WIDE,
    asked: request("GET https://a.example/"),
    verdicts: ["intercept", "deny requirement requirement:hosts"],
  },
  {
    what: "one that is",
    requires: { hosts: limit(["**.npmjs.org", "10.0.0.0/8"]) },
    policy: { allow: ["10.1.2.3"].map((host) => ({ host })) },
    asked: connect("10.1.2.3:443"),
    verdicts: ["intercept", "intercept"],
  },
  {
    what: "none, where none may be allowed",
    requires: { hosts: limit([]) },
    policy: WIDE,
    asked: connect("a.example:443"),
    verdicts: ["intercept", "deny requirement requirement:hosts"],
  },
  {
    what: "TLS that may not be passed unread is read",
    requires: { splice: limit([]) },
    policy: { ...WIDE, splice: [{ host: "a.example" }] },
    asked: hello("a.example:443", "a.example"),
    verdicts: ["splice", "intercept"],
  },
  {
    what: "TLS that may be",
    requires: { splice: limit(["**.a.example"]) },
    policy: { ...WIDE, splice: [{ host: "a.example" }] },
    asked: hello("a.example:443", "a.example"),
    verdicts: ["splice", "splice"],
  },
  {
    what: "under a limit of methods nothing is spliced",
    requires: { methods: limit(READ_ONLY) },
    policy: { ...WIDE, splice: [{ host: "a.example" }] },
    asked: hello("a.example:443", "a.example"),
    verdicts: ["splice", "intercept"],
  },
  {
    what: "raw TCP that may not be passed",
    requires: { tcp: limit(["git.example"]) },
    policy: { tcp: [{ host: "db.example", ports: [5432] }] },
    asked: connect("db.example:5432"),
    verdicts: ["tcp", "deny host-not-allowed default"],
  },
  {
    what: "under a limit of methods, either",
    requires: { methods: limit(READ_ONLY) },
    policy: { tcp: [{ host: "db.example", ports: [8443] }] },
    asked: connect("db.example:8443"),
    verdicts: ["tcp", "deny host-not-allowed default"],
  },
  {
    what: "unless it is named",
    requires: { methods: limit(READ_ONLY), tcp: limit(["db.example"]) },
    policy: { tcp: [{ host: "db.example", ports: [5432] }] },
    asked: connect("db.example:5432"),
    verdicts: ["tcp", "tcp"],
  },
  {
    what: "a policy that only reports",
    requires: { mode: limit("enforce") },
    policy: { mode: "report-only" },
    asked: request("GET https://a.example/"),
    verdicts: ["reports host-not-allowed", "deny host-not-allowed default"],
  },
  {
    what: "a policy that asks: nobody can approve it",
    requires: { deny: [limit("a.example")] },
    policy: { ask: "wait" },
    asked: request("GET https://a.example/"),
    verdicts: ["ask host-not-allowed default", "deny requirement requirement:deny"],
  },
];

describe("what slips through", () => {
  test.each(slips)("$what", ({ requires, policy, asked, verdicts }) => {
    expect([
      told(snapshotOf(policy), asked),
      told(snapshotUnder([requirementsOf(requires)], policy), asked),
    ]).toEqual(verdicts);
  });

  test("of several all hold", () => {
    const both = [
      requirementsOf({ deny: [limit("a.example")] }),
      requirementsOf({ hosts: limit(["**.example"]) }),
    ];
    const snapshot = snapshotUnder(both, WIDE);
    expect(
      ["a.example", "b.example", "b.test"].map((host) => told(snapshot, connect(`${host}:443`))),
    ).toEqual(["deny requirement requirement:deny", "intercept", "deny requirement requirement:hosts"]);
  });

  test("a grant does not lift it, a lockdown stands above it", () => {
    const snapshot = snapshotUnder([requirementsOf({ deny: [limit("a.example")] })], {});
    const grant = { id: "g", host: "a.example", methods: "all", expires: NOW + 1, source: "api" } as const;
    const standing = { lockdown: undefined, grants: compileGrants([grant]) };
    const asked = request("GET https://a.example/");
    expect(told(snapshot, { ...asked, standing })).toBe("deny requirement requirement:deny");
    expect(told(snapshotOf({}), { ...asked, standing })).toBe("intercept");
    const lockdown = { id: "lockdown", source: "somebody" };
    expect(told(snapshot, { ...asked, standing: { ...standing, lockdown } })).toBe("deny lockdown lockdown");
  });

  test("a policy that is not there is in no requirements either", () => {
    const snapshot = snapshotUnder([requirementsOf({ hosts: limit([]) })], {});
    expect(told(snapshot, connect("a.example:443", { policy: "gone" }))).toBe(
      "deny host-not-allowed undefined",
    );
  });
});

describe("addresses", () => {
  const rule = { host: "a.example", networks: ["10.0.0.0/8", "64:ff9b::a00:0/120", "fd00::/8"] };
  const network = requirementsOf({ deny: [limit("gist.example"), limit("10.1.0.0/16", 2)] });

  test.each([
    ["in a network that is always denied, whatever a rule lifts", ["10.1.2.3"], "requirement"],
    ["beside it", ["10.2.2.3"], "10.2.2.3"],
    ["one of two", ["10.1.2.3", "10.2.2.3"], "10.2.2.3"],
    ["that carries another one", ["64:ff9b::a00:1"], "requirement"],
    ["of the other family", ["fd00::1"], "fd00::1"],
  ])("%s", (_what, addresses, expected) => {
    const admission = admit(snapshotUnder([network], { allow: [rule] }), resolved("a.example", addresses));
    expect(admission.action === "allow" ? admission.pinned.join(" ") : admission.reason).toBe(expected);
  });

  test("a network that is public is denied, too", () => {
    const required = requirementsOf({ deny: [limit("93.184.216.0/24")] });
    const facts = resolved("a.example", ["93.184.216.34"]);
    expect(admit(snapshotUnder([required], {}), facts)).toMatchObject({ reason: "requirement" });
    expect(admit(snapshotOf({}), facts)).toMatchObject({ action: "allow" });
  });

  test("of a host that is always denied none", () => {
    const facts = resolved("x.gist.example", ["93.184.216.34"]);
    const required = requirementsOf({ deny: [limit("**.gist.example")] });
    expect(admit(snapshotUnder([required], WIDE), facts)).toMatchObject({ reason: "requirement" });
  });

  test("what carries another address is judged by the guard alone where no network is denied", () => {
    const required = requirementsOf({ deny: [limit("gist.example")] });
    const facts = resolved("a.example", ["64:ff9b::a00:1"]);
    expect(admit(snapshotUnder([required], { allow: [rule] }), facts)).toMatchObject({ action: "allow" });
  });

  test.each([
    [network, "a.example", "requirement"],
    [requirementsOf({ deny: [limit("gist.example")] }), "a.example", "allow"],
    [requirementsOf({ deny: [limit("gist.example")] }), "gist.example", "requirement"],
  ])("of a name that a parent proxy resolves", (required, host, expected) => {
    const facts = { policy: "default", target: { host: parseHost(host)!, port: 443 } };
    const admission = admitName(snapshotUnder([required], WIDE), facts);
    expect(admission.action === "allow" ? "allow" : admission.reason).toBe(expected);
  });
});

const WHERE = "(required by required.yaml:1:1)";

describe("what exceeds it at load", () => {
  test.each<[string, Partial<Requirements>, PolicyText, [string, string][]]>([
    [
      "a preset",
      { presets: limit(["npm"]) },
      { presets: [ALL] },
      [["preset", 'preset "all" may not be used: only npm']],
    ],
    [
      "any preset",
      { presets: limit([]) },
      { presets: [NPM] },
      [["preset", 'preset "npm" may not be used: none may']],
    ],
    ["a preset of one that may be used", { presets: limit(["common"]) }, { presets: [NPM] }, []],
    [
      "every host by way of a preset that may be used",
      { presets: limit(["mine"]) },
      { presets: [{ ...ALL, by: ["mine"] }] },
      [["preset", 'preset "all" may not be used: only mine']],
    ],
    [
      "a preset's hosts",
      { hosts: limit(["**.example"]) },
      { presets: [NPM, ALL, { name: "e", patterns: ["a.example"] }] },
      [
        ["preset", 'preset "npm" allows **.npmjs.org, and not every host may be allowed'],
        ["preset", 'preset "all" allows every host, and not every host may be allowed'],
      ],
    ],
    [
      "methods",
      { methods: limit(["GET"]) },
      { methods: ["GET", "PUT", "POST"] },
      [["methods", "methods PUT, POST may not be allowed: only GET"]],
    ],
    [
      "all methods",
      { methods: limit(["GET"]) },
      { methods: "all" },
      [["methods", "methods all may not be allowed: only GET"]],
    ],
    ["methods as many", { methods: limit(["GET", "HEAD"]) }, { methods: ["HEAD"] }, []],
    [
      "an intent",
      { methods: limit(["GET"]), intents: ["npm-audit"] },
      { methods: ["GET"], intents: ["npm-audit", "git-fetch"] },
      [["intents.1", "the intent git-fetch may not be used: only npm-audit"]],
    ],
    ["an intent where methods are not limited", {}, { intents: ["git-fetch"] }, []],
    [
      "report-only",
      { mode: limit("enforce") },
      { mode: "report-only" },
      [["mode", "the policy must be in the mode enforce"]],
    ],
    ["enforce", { mode: limit("enforce") }, {}, []],
    ...(
      [
        ["as much", 10, 0, 10, 0, true],
        ["more", 11, 0, 10, 0, false],
        ["as much a day", 10, DAY, 10, DAY, true],
        ["more a day", 11, DAY, 10, DAY, false],
        ["for life, where so much a day may be", 10, 0, 10, DAY, true],
        ["more for life than a day may have", 11, 0, 10, DAY, false],
        ["a day, where so much for life may be", 1, DAY, 10, 0, false],
        ["an hour's share of a day", 10, DAY / 24, 240, DAY, true],
        ["more than an hour's share of a day", 11, DAY / 24, 240, DAY, false],
        ["a day's, all of which an hour may have", 10, DAY, 10, DAY / 24, true],
        ["a day's, more than an hour may have", 11, DAY, 10, DAY / 24, false],
      ] as const
    ).map(
      ([what, limit, perMs, most, inMs, fits]): [
        string,
        Partial<Requirements>,
        PolicyText,
        [string, string][],
      ] => [
        `a budget: ${what}`,
        { budgets: [{ ...UPLOAD, limit: most, perMs: inMs, source: "required.yaml:1:1" }] },
        {
          budgets: [
            { ...UPLOAD, limit, perMs },
            { ...UPLOAD, host: "a.test", limit: 99, perMs },
          ],
        },
        fits ? [] : [["budgets.upload", "the budget upload is greater than it may be"]],
      ],
    ),
    [
      "a budget for hosts",
      { budgets: [{ ...UPLOAD, host: "a.test", limit: 1 }] },
      {
        budgets: [
          { ...UPLOAD, limit: 2 },
          { ...UPLOAD, host: "a.test", limit: 2 },
        ],
      },
      [["budgets.per_host.a.test.upload", "the budget upload is greater than it may be"]],
    ],
    [
      "a rule's host and methods",
      { hosts: limit(["**.example"]), methods: limit(READ_ONLY), intents: ["git-fetch"] },
      { allow: [{ host: "a.example" }, { host: "**.test", methods: ["POST"] }, { host: "*.example" }] },
      [
        ["allow.1.host", '"**.test" is not among the hosts that may be allowed'],
        ["allow.1.methods", "methods POST may not be allowed: only GET, HEAD, OPTIONS"],
      ],
    ],
    [
      "what is always denied",
      { deny: [limit("**.gist.example"), limit("10.0.0.0/8")] },
      {
        allow: [
          { host: "a.gist.example" },
          { host: "**.example", networks: ["192.168.0.0/16", "10.1.0.0/16"] },
          { host: "0.0.0.0/0" },
        ],
      },
      [
        ["allow.0.host", '"a.gist.example" is always denied'],
        ["allow.1.networks.1", '"10.1.0.0/16" is always denied'],
      ],
    ],
    [
      "a splice rule",
      { splice: limit([]) },
      { splice: [{ host: "a.example" }] },
      [["splice.0.host", '"a.example" may not be passed unread: none may']],
    ],
    [
      "a tcp rule",
      { tcp: limit(["b.example"]) },
      { tcp: [{ host: "a.example" }, { host: "b.example" }] },
      [["tcp.0.host", '"a.example" may not be passed unread: only b.example']],
    ],
    [
      "both, under a limit of methods",
      { methods: limit(READ_ONLY) },
      { tcp: [{ host: "a.example" }], splice: [{ host: "a.example" }] },
      [
        ["splice.0.host", '"a.example" may not be passed unread: none may'],
        ["tcp.0.host", '"a.example" may not be passed unread: none may'],
      ],
    ],
    [
      "a pattern that cannot be read",
      { hosts: limit(["A.example"]) },
      { allow: [{ host: "b.example" }] },
      [["allow.0.host", '"b.example" is not among the hosts that may be allowed']],
    ],
  ])("%s", (_what, requires, policy, expected) => {
    const found = excessOf(policyOf(policy), [requirementsOf(requires)]);
    expect(found.map(({ path, message }) => [path.join("."), message])).toEqual(
      expected.map(([path, message]) => [path, `${message} ${WHERE}`]),
    );
  });

  test("a requirement that cannot be read compiles to nothing", () => {
    const requirements = [requirementsOf({ hosts: limit(["A.example"]), deny: [limit("*")] })];
    const compiled = compile({ generation: 1, policies: [], requirements });
    expect("problems" in compiled && compiled.problems.map(({ source }) => source)).toEqual([
      "required.yaml:1:1",
      "required.yaml:1:1",
    ]);
  });
});

describe("what somebody would grant", () => {
  const grants = { role: limit("operator" as const), longestMs: limit(60_000), always: limit(false) };
  const fine: Exception = { host: "a.example", methods: ["GET"], ms: 60_000, role: "admin" };
  test.each<[string, Partial<Exception>, Partial<Requirements>, string | undefined]>([
    ["within it", {}, {}, undefined],
    ["by the least role", { role: "operator" }, {}, undefined],
    ["by a lesser role", { role: "approver" }, {}, "only the role operator and above may allow this"],
    ["by none of them", { role: "runtime" }, {}, "only the role operator and above may allow this"],
    ["for too long", { ms: 60_001 }, {}, "nothing may be granted for longer than 60 seconds"],
    ["for always", { always: true }, {}, "nothing may be allowed for always by an approval"],
    [
      "for always, where that is permitted",
      { always: true },
      { grants: { ...grants, always: limit(true) } },
      undefined,
    ],
    ["of a host that is denied", {}, { deny: [limit("a.example")] }, '"a.example" is always denied'],
    ["of another host", {}, { hosts: limit([]) }, '"a.example" is not among the hosts that may be allowed'],
    [
      "of a method",
      { methods: "all" },
      { methods: limit(["GET"]) },
      "methods all may not be allowed: only GET",
    ],
  ])("%s", (_what, exception, requires, expected) => {
    const required = [requirementsOf({ grants, ...requires })];
    expect(excessOfException({ ...fine, ...exception }, required)).toBe(expected && `${expected} ${WHERE}`);
  });
});

test("is told where it is asked for why, and no rule is offered that exceeds it", () => {
  const required = [requirementsOf({ deny: [limit("b.example")], methods: limit(["GET", "POST"]) })];
  const snapshot = snapshotUnder(required, { methods: ["GET"] });
  const denied = explain(snapshot, request("GET https://b.example/"));
  expect(denied.steps.map(({ name, outcome, because }) => `${name} ${outcome}: ${because}`)).toEqual([
    "requirement deny: this host is always denied",
  ]);
  expect(denied.flip).toEqual({ impossible: "no policy can exceed what required.yaml:1:1 requires" });
  expect(explain(snapshot, resolved("b.example", ["192.0.2.1"])).steps[0]?.name).toBe("requirement");
  const method = explain(snapshot, request("PUT https://a.example/"));
  expect(method.steps[0]?.because).toBe("method-not-allowed");
  const missed = explain(snapshot, request("POST https://a.example/", { body: true }));
  expect(missed.steps[0]).toMatchObject({ name: "requirement", outcome: "continue" });
  expect(missed.flip).toEqual({ rule: "allow: [{ host: a.example, methods: [POST] }]" });
  // Nothing but `methods: all` would turn it, and that may not be.
  const push = request("POST https://a.example/r/git-receive-pack");
  expect(explain(snapshotOf({}), push).flip).toMatchObject({ rule: expect.stringContaining("methods: all") });
  const under = snapshotUnder([requirementsOf({ methods: limit(["GET"]), hosts: limit(["a.example"]) })], {
    methods: "all",
  });
  expect(explain(under, request("GET https://a.example/")).flip).toEqual({
    impossible: "no allow rule can permit this",
  });
});

test("requirements allow nothing that the policy alone does not, and nothing that they forbid", () => {
  const required = fc.record({
    presets: fc.constantFrom(undefined, limit([]), limit(["t"])),
    methods: fc.constantFrom(undefined, limit([]), limit(["GET"]), limit(["GET", "POST"])),
    hosts: fc.constantFrom(undefined, limit(["**.a.test"]), limit(["*.test", "192.0.2.0/24"])),
    deny: fc.array(
      arbitrary.pattern.map((pattern) => limit(pattern)),
      { maxLength: 2 },
    ),
    mode: fc.constantFrom(undefined, limit("enforce" as const)),
  });
  fc.assert(
    fc.property(required, arbitrary.policy, arbitrary.facts, (requires, text, one) => {
      const requirements = requirementsOf(requires);
      const alone = decide(snapshotOf(text), one);
      const held = decide(snapshotUnder([requirements], text), one);
      if (held.action !== "allow") return;
      expect(alone.action).toBe("allow");
      const { methods } = requires;
      if (one.stage === "request" && methods !== undefined) expect(methods.value).toContain(one.method);
      // What a policy that allows everything may under them, this one may at most.
      const most = { methods: "all", presets: [ALL], allow: [{ host: "192.0.2.1" }] } as const;
      const open = { ...requirements, presets: undefined };
      expect(decide(snapshotUnder([open], most), one).action).toBe("allow");
    }),
    { numRuns: 1_500 },
  );
});
