// What a secret asks of the policy and of each request: nobody reads it on the way, and nothing lifts that.

import { expect, test } from "vitest";
import { parseHost } from "../../src/net/host.ts";
import { Secret } from "../../src/net/secret.ts";
import { decide } from "../../src/policy/decide.ts";
import { explain } from "../../src/policy/explain.ts";
import { secretsFor } from "../../src/policy/secrets.ts";
import type { SecretUse } from "../../src/policy/types.ts";
import { problemsOf, type PolicyText, request, snapshotOf } from "./support.ts";

const secret = (host: string, source: string, name = "one"): SecretUse => ({
  name,
  value: new Secret("0123456789"),
  hosts: [parseHost(host)!],
  as: "bearer",
  source,
});

const OWN: PolicyText = {
  name: "p",
  methods: "all",
  allow: [{ host: "a.test", source: "at" }],
  secrets: [secret("a.test", "x:1:1"), secret("a.test", "x:2:1", "two"), secret("b.test", "x:3:1")],
};
const asked = (scheme: "http" | "https", method = "GET") =>
  request(`${method} ${scheme}://a.test/`, { policy: "p" });

test("no secret is for a host that is passed unread", () => {
  const splice = [{ host: "*.pinned.test", source: "at" }];
  const tcp = [{ host: "db.test", ports: [5432], source: "at" }];
  const secrets = [
    secret("a.pinned.test", "x:1:1"),
    secret("pinned.test", "x:2:1"),
    secret("db.test", "x:3:1"),
  ];
  expect(problemsOf({ splice, tcp, secrets })).toEqual([
    "x:1:1: `a.pinned.test` is passed unread by a splice or tcp rule, so no secret can be put in",
    "x:3:1: `db.test` is passed unread by a splice or tcp rule, so no secret can be put in",
  ]);
});

test("a host has those that name it, under the policy that names them", () => {
  const snapshot = snapshotOf(OWN, { name: "q" });
  const names = (policy: string, host: string) =>
    secretsFor(snapshot, policy, parseHost(host)!)?.map(({ name, source }) => `${name} ${source}`);
  expect(names("p", "a.test")).toEqual(["one x:1:1", "two x:2:1"]);
  expect(names("p", "www.a.test")).toBeUndefined();
  expect([names("q", "a.test"), names("r", "a.test")]).toEqual([undefined, undefined]);
});

test.each([
  ["enforce", "https", "POST", undefined],
  ["enforce", "http", "GET", "secret-needs-tls"],
  ["enforce", "https", "TRACE", "method-not-allowed"],
  ["report-only", "http", "GET", "secret-needs-tls"],
  ["report-only", "https", "TRACE", "method-not-allowed"],
] as const)("%s: over %s, %s: %s", (mode, scheme, method, reason) => {
  const snapshot = snapshotOf({ ...OWN, mode });
  const verdict = decide(snapshot, asked(scheme, method));
  expect(verdict).toMatchObject(
    reason === undefined
      ? { action: "allow" }
      : { action: "deny", reason, rule: { id: "secret:one", source: "x:1:1" } },
  );
});

test("report-only lifts a miss and not that; an approval is not even asked for", () => {
  const bare = { ...OWN, allow: [] };
  const facts = asked("http");
  for (const way of [{ mode: "report-only" }, { ask: "wait" }] as const)
    expect(decide(snapshotOf({ ...bare, ...way }), facts)).toMatchObject({ reason: "secret-needs-tls" });
  expect(decide(snapshotOf(bare), facts)).toMatchObject({ reason: "host-not-allowed" });
});

test("it is told with its name, and that no rule helps", () => {
  const { steps, flip } = explain(snapshotOf(OWN), asked("http"));
  expect(steps.at(-1)).toEqual({
    name: "secret",
    outcome: "deny",
    rule: { id: "secret:one", source: "x:1:1" },
    because: "secret-needs-tls",
  });
  expect(flip).toEqual({
    impossible: "what carries secret:one (x:1:1) goes over https, by any method but TRACE",
  });
  const allowed = explain(snapshotOf(OWN), asked("https"));
  expect(allowed.steps.slice(-2).map(({ rule, because }) => `${rule?.id} ${because}`)).toEqual([
    "secret:one is put in",
    "secret:two is put in",
  ]);
});
