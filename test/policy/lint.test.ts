import { expect, test } from "vitest";

import { lint } from "../../src/policy/lint.ts";
import { holds, overlap } from "../../src/policy/overlap.ts";
import { parsePattern, type HostPattern } from "../../src/policy/pattern.ts";
import { policyOf, type PolicyText } from "./support.ts";

function found(policy: PolicyText): string[] {
  const findings = lint({ generation: 1, policies: [policyOf(policy)] });
  return findings.map(({ severity, source, message }) => `${severity} ${source}: ${message}`);
}

const SPLICE: PolicyText = { splice: [{ host: "a.test" }] };
const UNREAD = "error splice:0: `a.test` is not read, so it needs `methods: all` without paths;";
const ALL: PolicyText = { presets: [{ name: "all", patterns: [] }] };
const UNASKED = "warning default: nothing is asked about while the policy only reports: it all passes";
const LOUD = "warning default: the preset `all` is not recommended: code and secrets can be sent to any host";

test.each<[string, PolicyText, string[]]>([
  ["nothing to say", { allow: [{ host: "a.test" }], deny: [{ host: "b.test" }] }, []],
  ["asks, while it only reports", { ask: "wait", mode: "report-only" }, [UNASKED]],
  ["asks", { ask: "wait" }, []],
  ["spliced with all methods", { ...SPLICE, allow: [{ host: "a.test", methods: "all" }] }, []],
  [
    "spliced under a policy with all methods",
    { ...SPLICE, methods: "all", allow: [{ host: "**.test" }] },
    [],
  ],
  [
    "spliced, read-only rule",
    { ...SPLICE, allow: [{ host: "**.test" }] },
    [`${UNREAD} the rule at allow:0 limits it`],
  ],
  [
    "spliced, rule with methods",
    { ...SPLICE, methods: "all", allow: [{ host: "a.test", methods: ["GET"] }] },
    [`${UNREAD} the rule at allow:0 limits it`],
  ],
  [
    "spliced, rule with paths",
    { ...SPLICE, allow: [{ host: "a.test", methods: "all", paths: ["/**"] }] },
    [`${UNREAD} the rule at allow:0 limits it`],
  ],
  [
    "spliced, read-only preset",
    { ...SPLICE, presets: [{ name: "t", patterns: ["**.test"] }] },
    [`${UNREAD} preset t limits it`],
  ],
  ["spliced, read-only `all`", { ...SPLICE, ...ALL }, [`${UNREAD} preset all limits it`, LOUD]],
  ["spliced, `all` with all methods", { ...SPLICE, ...ALL, methods: "all" }, [LOUD]],
  [
    "spliced, preset with all methods",
    { ...SPLICE, methods: "all", presets: [{ name: "t", patterns: ["**.test"] }] },
    [],
  ],
  [
    "an unlimited grant beside a limited one",
    { ...SPLICE, ...ALL, allow: [{ host: "a.test", methods: "all" }] },
    [LOUD],
  ],
  [
    "an unlimited grant for part of it",
    { splice: [{ host: "**.test" }], allow: [{ host: "a.test", methods: "all" }, { host: "b.test" }] },
    [
      "error splice:0: `**.test` is not read, so it needs `methods: all` without paths; the rule at allow:1 limits it",
    ],
  ],
  [
    "unlimited for part, nothing for the rest",
    { splice: [{ host: "**.test" }], allow: [{ host: "a.test", methods: "all" }] },
    [],
  ],
  [
    "unlimited for other ports",
    { ...SPLICE, allow: [{ host: "a.test", methods: "all", ports: [443] }, { host: "a.test" }] },
    [`${UNREAD} the rule at allow:1 limits it`],
  ],
  [
    "unlimited for its ports",
    {
      splice: [{ host: "a.test", ports: [443] }],
      allow: [{ host: "a.test", methods: "all", ports: [443, 8443] }, { host: "a.test" }],
    },
    [],
  ],
  [
    "limited for other ports",
    { splice: [{ host: "a.test", ports: [443] }], allow: [{ host: "a.test", ports: [80] }] },
    ["warning splice:0: nothing allows `a.test`, and to splice it does not"],
  ],
  [
    "a deny rule by path",
    { ...SPLICE, allow: [{ host: "a.test", methods: "all" }], deny: [{ host: "**.test", paths: ["/x"] }] },
    ["error splice:0: `a.test` is not read, so the deny rule at deny:0 could not be held to"],
  ],
  [
    "a deny rule by method",
    { ...SPLICE, allow: [{ host: "a.test", methods: "all" }], deny: [{ host: "a.test", methods: ["POST"] }] },
    ["error splice:0: `a.test` is not read, so the deny rule at deny:0 could not be held to"],
  ],
  [
    "a deny rule for the whole host",
    { ...SPLICE, allow: [{ host: "a.test", methods: "all" }], deny: [{ host: "b.a.test" }] },
    [],
  ],
  [
    "spliced and not allowed",
    SPLICE,
    ["warning splice:0: nothing allows `a.test`, and to splice it does not"],
  ],
  [
    "narrowed by methods",
    { splice: [{ host: "a.test", methods: ["GET"] }] },
    ["error splice:0: a splice rule cannot be narrowed by `methods`: the requests are not read"],
  ],
  [
    "narrowed by paths",
    { splice: [{ host: "a.test", paths: ["/x"] }] },
    ["error splice:0: a splice rule cannot be narrowed by `paths`: the requests are not read"],
  ],
  [
    "a literal spliced under `all`",
    { splice: [{ host: "192.0.2.1" }], ...ALL, methods: "all" },
    ["warning splice:0: nothing allows `192.0.2.1`, and to splice it does not", LOUD],
  ],
  ["what compile refuses", { splice: [{ host: "*" }], allow: [{ host: "A.test" }] }, []],
  [
    "what compile refuses beside it",
    { ...SPLICE, allow: [{ host: "A.test" }] },
    ["warning splice:0: nothing allows `a.test`, and to splice it does not"],
  ],
  [
    "empty lists",
    { allow: [{ host: "a.test", methods: [], ports: [], paths: [] }] },
    ["methods", "ports", "paths"].map((key) => `warning allow:0: an empty \`${key}\` permits nothing`),
  ],
  [
    "broad networks",
    { allow: [{ host: "a.test", networks: ["0.0.0.0/0", "10.0.0.0/8"] }] },
    ["warning allow:0: `0.0.0.0/0` opens every private network to this host's DNS"],
  ],
  [
    "networks to deny",
    { deny: [{ host: "a.test", networks: ["10.0.0.0/8"] }] },
    ["error deny:0: a deny rule takes no networks; name the network as its host"],
  ],
  [
    "intents of nothing",
    { methods: [], intents: ["git-fetch"] },
    ["warning default: an empty `methods` permits nothing, so its intents do nothing"],
  ],
])("%s", (_, policy, expected) => {
  expect(found(policy)).toEqual(expected);
});

function pattern(text: string): HostPattern {
  return parsePattern(text) as HostPattern;
}

test.each<[string, string, boolean, boolean, boolean]>([
  // a, b, they overlap, a holds b, b holds a
  ["a.test", "a.test", true, true, true],
  ["a.test", "b.test", false, false, false],
  ["*.test", "a.test", true, true, false],
  ["*.test", "test", false, false, false],
  ["**.test", "test", true, true, false],
  ["**.test", "atest", false, false, false],
  ["**.test", "*.test", true, true, false],
  ["*.test", "**.a.test", true, true, false],
  ["*.test", "*.test", true, true, true],
  ["*.a.test", "*.b.test", false, false, false],
  ["**.test", "a*.test", true, true, false],
  ["**.test", "a*.b.test", true, true, false],
  ["**.a1.test", "a*.test", true, false, false],
  ["*.a1.test", "a*.test", false, false, false],
  ["**.b1.test", "a*.test", false, false, false],
  ["a*.test", "a1.test", true, true, false],
  ["a*.test", "a.b.test", false, false, false],
  ["a*.test", "test", false, false, false],
  ["a*a.test", "a.test", false, false, false],
  ["a*.test", "ab*c.test", true, true, false],
  ["a*.test", "*b.test", true, false, false],
  ["a*.test", "b*.test", false, false, false],
  ["a*.test", "a*.other", false, false, false],
  ["*a.test", "*b.test", false, false, false],
  ["10.0.0.0/8", "10.0.0.0/9", true, true, false],
  ["10.0.0.0/8", "11.0.0.1", false, false, false],
  ["10.0.0.0/8", "::/0", false, false, false],
  ["0.0.0.0/0", "a.test", false, false, false],
  ["**.test", "10.0.0.1", false, false, false],
  ["a*.test", "10.0.0.1", false, false, false],
])("%s and %s: overlap %s, holds %s, held %s", (...row) => {
  const [a, b, meet, first, second] = row;
  const [x, y] = [pattern(a), pattern(b)];
  expect([overlap(x, y), overlap(y, x), holds(x, y), holds(y, x)]).toEqual([meet, meet, first, second]);
});
