import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { parseAuthority } from "../../src/net/authority.ts";
import { parseHostUnicode } from "../../src/net/host.ts";
import { decide } from "../../src/policy/decide.ts";
import { explain } from "../../src/policy/explain.ts";
import type { DecideFacts } from "../../src/policy/grant.ts";
import type { Verdict } from "../../src/policy/types.ts";
import { facts, host, NARROWED, policy, rule } from "./arbitraries.ts";
import { connect, snapshotOf, type PolicyText, type RuleText } from "./support.ts";

/** By reading every rule in turn: what `decide` must agree with. Paths and smuggling have tables of their own. */
function oracle(text: PolicyText, { target, at, ...facts }: DecideFacts): "allow" | "deny" {
  const concerns = ({ host, ports, expires = Infinity }: RuleText): boolean =>
    at < expires && (ports?.includes(target.port) ?? true) && named(host, target.host);
  const lists = ({ methods = text.methods! }: RuleText): boolean =>
    facts.stage === "request" ? methods === "all" || methods.includes(facts.method) : methods.length > 0;
  const denies = (one: RuleText): boolean =>
    concerns(one) && ((one.methods ?? "all") === "all" || (facts.stage === "request" && lists(one)));
  const isName = target.host !== "192.0.2.1";
  const presets = text.presets!.filter(({ name, patterns }) =>
    name === "all" ? isName : patterns.some((one) => named(one, target.host)),
  );
  if (text.mode === "report-only") return "allow";
  if (text.deny!.some(denies)) return "deny";
  return text.allow!.some((one) => concerns(one) && lists(one)) || (presets.length > 0 && lists({ host: "" }))
    ? "allow"
    : "deny";
}

function named(pattern: string, host: string): boolean {
  if (host === "192.0.2.1") return pattern.startsWith("192.");
  const source = pattern
    .replaceAll(".", "\\.")
    .replace(/^\*\*\\\./, "(?:.+\\.)?")
    .replace(/^\*\\\./, ".+\\.")
    .replace(/^(\w+-?)\*/, "$1[^.]*");
  return new RegExp(`^${source}$`).test(host);
}

test("decide is a scan of the rules", () => {
  const plain = fc.array(fc.record({ ...NARROWED }, { requiredKeys: ["host"] }), { maxLength: 4 });
  const simple = fc
    .tuple(policy, plain, plain)
    .map(([text, allow, deny]) => ({ ...text, allow, deny, intents: [] }));
  const clean = facts.filter(
    (one) =>
      one.stage !== "request" || !(one.upgrade || one.body || one.methodOverride || one.path.query !== ""),
  );
  fc.assert(
    fc.property(simple, clean, (text, one) => {
      expect(decide(snapshotOf(text), one).action).toBe(oracle(text, one));
    }),
    { numRuns: 1_500 },
  );
});

test("explain is decide, and its rule turns the verdict", () => {
  fc.assert(
    fc.property(policy, facts, (text, one) => {
      const snapshot = snapshotOf(text);
      const { verdict, steps, flip } = explain(snapshot, one);
      expect(verdict).toEqual(decide(snapshot, one));
      expect(steps.at(-1)?.outcome === "continue" ? "allow" : steps.at(-1)?.outcome).toBe(verdict.action);
      if (flip === undefined || "impossible" in flip) return;
      const added = parse(flip.rule) as Partial<PolicyText>;
      const allow = [...text.allow!, ...(added.allow ?? [])];
      expect(decide(snapshotOf({ ...text, ...added, mode: "enforce", allow }), one).action).toBe("allow");
    }),
    { numRuns: 500 },
  );
});

test("deny beats allow in any order of writing", () => {
  fc.assert(
    fc.property(policy, facts, fc.nat(4), ({ deny, ...text }, one, at) => {
      const denial = { host: one.target.host };
      const enforced: PolicyText = { ...text, mode: "enforce", deny: deny!.toSpliced(at, 0, denial) };
      expect(decide(snapshotOf(enforced), one).action).toBe("deny");
    }),
    { numRuns: 300 },
  );
});

test("the order of writing changes no action", () => {
  fc.assert(
    fc.property(policy, facts, (text, one) => {
      const turned = { ...text, allow: text.allow!.toReversed(), deny: text.deny!.toReversed() };
      const gist = (verdict: Verdict): unknown => [verdict.action, "handling" in verdict && verdict.handling];
      expect(gist(decide(snapshotOf(turned), one))).toEqual(gist(decide(snapshotOf(text), one)));
    }),
    { numRuns: 300 },
  );
});

test("one more deny rule never allows more", () => {
  fc.assert(
    fc.property(policy, rule, facts, (text, denial, one) => {
      const enforced = { ...text, mode: "enforce" } as const;
      const more = decide(snapshotOf({ ...enforced, deny: [...text.deny!, denial] }), one);
      if (more.action === "allow") expect(decide(snapshotOf(enforced), one).action).toBe("allow");
    }),
    { numRuns: 300 },
  );
});

test("a tcp rule changes nothing but the tunnels to its host and ports, and outranks no deny rule", () => {
  const raw = fc.record({ host: NARROWED.host, ports: fc.constantFrom<number[]>([443], [8443, 80], [22]) });
  fc.assert(
    fc.property(policy, fc.array(raw, { minLength: 1, maxLength: 3 }), facts, (text, tcp, one) => {
      const without = decide(snapshotOf(text), one);
      const verdict = decide(snapshotOf({ ...text, tcp }), one);
      const concerns = tcp.some(
        ({ host, ports }) => ports.includes(one.target.port) && named(host, one.target.host),
      );
      if (verdict.action !== "allow" || verdict.handling !== "tcp") {
        expect(verdict).toEqual(without);
        return;
      }
      expect([one.stage, concerns]).toEqual(["connect", true]);
      const denial = decide(
        snapshotOf({ ...text, tcp, mode: "enforce", deny: [{ host: one.target.host }] }),
        one,
      );
      expect(denial.action).toBe("deny");
    }),
    { numRuns: 600 },
  );
});

test("case, trailing dot, IDNA and port spelling never change a verdict", () => {
  const spelling = fc.constantFrom(
    (text: string) => text.toUpperCase(),
    (text: string) => `${text}.`,
    (text: string) => text.replace(/^./, (letter) => letter.toUpperCase()),
    (text: string) => text.replace("xn--bcher-kva", "BÜCHER"),
    (text: string) => text.replace("xn--bcher-kva", "bu\u0308cher"),
  );
  const name = host.filter((text) => text !== "192.0.2.1");
  fc.assert(
    fc.property(policy, name, spelling, (text, canonical, respell) => {
      const snapshot = snapshotOf(text);
      const target = { host: parseHostUnicode(respell(canonical))!, port: 443 };
      const expected = decide(snapshot, connect(`${canonical}:443`));
      expect(decide(snapshot, connect("a.test", { target }))).toEqual(expected);
      expect(decide(snapshot, connect("a.test", { target: parseAuthority(canonical, 443)! }))).toEqual(
        expected,
      );
    }),
    { numRuns: 300 },
  );
});
