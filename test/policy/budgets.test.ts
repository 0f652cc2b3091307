// Which budgets a host falls under, what they are counted by, and when they begin anew.

import { expect, test } from "vitest";
import { parseHost } from "../../src/net/host.ts";
import { budgetsFor, budgetsUnder, CLAIM_MS, counterOf, windowOf } from "../../src/policy/budgets.ts";
import { compile } from "../../src/policy/compile.ts";
import type { Budget, Policy } from "../../src/policy/types.ts";
import { requirementsOf } from "./support.ts";

const budget = (name: Budget["name"], host?: string, perMs = 0): Budget => ({
  name,
  host,
  limit: 10,
  perMs,
  source: "sallyport.yaml:9:7",
});

function compiled(budgets: readonly Budget[] | undefined) {
  const policy: Policy = {
    name: "p",
    presets: [],
    methods: "all",
    intents: [],
    mode: "enforce",
    ask: "never",
    allow: [],
    deny: [],
    splice: [],
    tcp: [],
    keepQueries: false,
    showRule: false,
    ...(budgets !== undefined && { budgets }),
  };
  return compile({ generation: 1, policies: [policy] });
}

function found(budgets: readonly Budget[] | undefined, host: string, policy = "p") {
  const made = compiled(budgets);
  const parsed = parseHost(host);
  if ("problems" in made || parsed === undefined) throw new Error("it does not compile");
  return budgetsFor(made.snapshot, policy, parsed)?.map((one) => `${one.name} ${one.host ?? "*"}`);
}

const BOTH = [
  budget("upload"),
  budget("requests", "a.test"),
  budget("requests", "**.b.test"),
  budget("upload", "192.0.2.0/24"),
];

test.each([
  { host: "c.test", budgets: ["upload *"] },
  { host: "a.test", budgets: ["upload *", "requests a.test"] },
  { host: "x.a.test", budgets: ["upload *"] },
  { host: "b.test", budgets: ["upload *", "requests **.b.test"] },
  { host: "x.b.test", budgets: ["upload *", "requests **.b.test"] },
  { host: "192.0.2.9", budgets: ["upload *", "upload 192.0.2.0/24"] },
])("$host falls under $budgets", ({ host, budgets }) => {
  expect(found(BOTH, host)).toEqual(budgets);
});

test("where there is none to keep to, nothing is found", () => {
  expect(found(undefined, "a.test")).toBeUndefined();
  expect(found([], "a.test")).toBeUndefined();
  expect(found(BOTH, "a.test", "another")).toBeUndefined();
  expect(found([budget("upload", "a.test")], "b.test")).toBeUndefined();
});

test("a pattern that cannot be read is a problem where it stands", () => {
  expect(compiled([budget("upload", "*")])).toEqual({
    problems: [{ source: "sallyport.yaml:9:7", message: expect.stringContaining("a wildcard alone") }],
  });
});

test("a counter is the owner's, the budget's and the period's; no two share one", () => {
  const names = [
    counterOf({ sandbox: "a", policy: "p" }, budget("upload")),
    counterOf({ sandbox: "a", policy: "p" }, budget("upload", "a.test")),
    counterOf({ sandbox: "a", policy: "p" }, budget("upload", undefined, 60_000)),
    counterOf({ sandbox: "a", policy: "p" }, budget("download")),
    counterOf({ sandbox: "b", policy: "p" }, budget("upload")),
    counterOf({ sandbox: undefined, policy: "a" }, budget("upload")),
  ];
  expect(new Set(names).size).toBe(names.length);
  expect(counterOf({ sandbox: "a", policy: "other" }, budget("upload"))).toBe(names[0]);
});

test.each([
  { name: "upload", perMs: 0, at: 123_456, window: 0 },
  { name: "requests", perMs: 60_000, at: 119_999, window: 60_000 },
  { name: "requests", perMs: 60_000, at: 120_000, window: 120_000 },
  { name: "connections", perMs: 0, at: CLAIM_MS + 1, window: CLAIM_MS },
] as const)("$name per $perMs ms, at $at: its window began at $window", ({ name, perMs, at, window }) => {
  expect(windowOf({ name, perMs }, at)).toBe(window);
});

test("what is required is counted beside a policy's own; of two that count the same, the lesser holds", () => {
  const own = [
    { ...budget("upload"), limit: 5 },
    { ...budget("requests", "a.test"), limit: 50 },
    budget("hosts"),
  ];
  const required = [
    { ...budget("upload"), limit: 9 },
    { ...budget("upload", undefined, 60_000), limit: 9 },
    { ...budget("requests", "a.test"), limit: 10 },
  ];
  const all = budgetsUnder({ budgets: own }, [requirementsOf({ budgets: required }), requirementsOf()]);
  expect(all.map(({ name, host, limit, perMs }) => `${name} ${host ?? "*"} ${limit} ${perMs}`)).toEqual([
    "upload * 5 0",
    "requests a.test 10 0",
    "hosts * 10 0",
    "upload * 9 60000",
  ]);
  expect(budgetsUnder({}, [])).toEqual([]);
});
