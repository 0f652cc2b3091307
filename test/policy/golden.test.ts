// Runs test/golden/policy-*.case: a policy as an operator writes it, `---`, what is asked, `---`, what is answered.
// What is asked: `METHOD URL` and flags, `CONNECT authority`, `CLIENT-HELLO authority name`, `ADDRESS authority addresses`,
// or `check` for what is found at load.

import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { compile, compileGrants } from "../../src/policy/compile.ts";
import { explain } from "../../src/policy/explain.ts";
import { lint } from "../../src/policy/lint.ts";
import type { Facts, Grant, Intent, Policy, Standing } from "../../src/policy/types.ts";
import { connect, hello, policyOf, READ_ONLY, request, resolved, shipped, type RuleText } from "./support.ts";

const golden = new URL("../golden/", import.meta.url);
const cases = readdirSync(golden).filter((name) => /^policy-.*\.case$/.test(name));

test.each(cases)("%s", (name) => {
  const [policy, asked, answer, ...more] = readFileSync(new URL(name, golden), "utf8").split(/^---\n/m);
  expect(more).toEqual([]);
  const written = (parse(policy!) ?? {}) as Written;
  expect(answered(readPolicy(written), asked!.trim(), standingOf(written))).toBe(answer!.trimEnd());
});

type Written = {
  readonly preset?: string | readonly string[];
  readonly methods?: "read-only" | "all" | readonly string[];
  readonly intents?: readonly Intent[];
  readonly mode?: Policy["mode"];
  readonly ask?: Policy["ask"];
  readonly allow?: readonly RuleText[];
  readonly deny?: readonly RuleText[];
  readonly splice?: readonly RuleText[];
  readonly tcp?: readonly RuleText[];
  /** What holds for the sandbox beside its policy. */
  readonly lockdown?: string;
  readonly grants?: readonly Omit<Grant, "source">[];
};

function standingOf({ lockdown, grants }: Written): Standing {
  return {
    lockdown: lockdown === undefined ? undefined : { id: "lockdown", source: "operator", reason: lockdown },
    grants: grants && compileGrants(grants.map((grant) => ({ ...grant, source: "api" }))),
  };
}

function readPolicy(written: Written): Policy {
  const { preset = [], methods = "read-only", lockdown: _lockdown, grants: _grants, ...rest } = written;
  return policyOf({
    ...rest,
    presets: [preset].flat().flatMap(shipped),
    methods: methods === "read-only" ? READ_ONLY : methods,
  });
}

function answered(policy: Policy, asked: string, standing: Standing): string {
  const set = { generation: 1, policies: [policy] };
  const compiled = compile(set);
  if ("problems" in compiled) {
    return compiled.problems.map(({ source, message }) => `error ${source}: ${message}`).join("\n");
  }
  if (asked === "check") {
    return lint(set)
      .map((found) => `${found.severity} ${found.source}: ${found.message}`)
      .join("\n");
  }
  const { verdict, steps, flip } = explain(compiled.snapshot, { ...factsOf(asked), standing });
  const told = steps.map(({ name, outcome, rule, because }) =>
    ["-", name, rule?.id === name ? [] : (rule?.id ?? []), `${outcome}:`, because].flat().join(" "),
  );
  return [headline(verdict), ...told, ...(flip === undefined ? [] : [ending(flip)])].join("\n");
}

function headline(verdict: ReturnType<typeof explain>["verdict"]): string {
  if (verdict.action !== "allow")
    return `${verdict.action} ${verdict.reason} (${verdict.rule?.id ?? "no rule"})`;
  if ("pinned" in verdict) return `allow ${verdict.pinned.join(" ")}`;
  const would = verdict.wouldDeny === undefined ? "" : `, would deny ${verdict.wouldDeny.reason}`;
  return `allow, ${verdict.handling} (${verdict.rule.id})${would}`;
}

function ending(flip: NonNullable<ReturnType<typeof explain>["flip"]>): string {
  return "rule" in flip ? `to allow it: ${flip.rule}` : `nothing allows it: ${flip.impossible}`;
}

function factsOf(asked: string): Facts {
  const [verb, where, ...rest] = asked.split(/\s+/);
  switch (verb) {
    case "CONNECT":
      return connect(where!);
    case "CLIENT-HELLO":
      return hello(where!, rest[0]);
    case "ADDRESS":
      return resolved(where!, rest);
    default: {
      const flags = { upgrade: false, body: false, methodOverride: false };
      return request(`${verb} ${where}`, {
        ...flags,
        ...Object.fromEntries(rest.map((flag) => [flag, true])),
      });
    }
  }
}
