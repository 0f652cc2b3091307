// The policies as written, made into what `compile` takes: presets flattened, each rule with the place it stands at.
// Warns of what has no effect any more and of what lets out more than it seems.

import { Secret } from "../net/secret.ts";
import type { Policy, Rule, SecretUse } from "../policy/types.ts";
import { budgetsOf } from "./budget-schema.ts";
import type { Diagnostic } from "./diagnostic.ts";
import { flattenPresets, type Library } from "./presets.ts";
import type { ParsedRule } from "./rule-schema.ts";
import type { ParsedConfig } from "./schema.ts";
import type { ParsedSecret } from "./secret-schema.ts";
import type { Path, Source } from "./source.ts";
import { publicPattern } from "./suffixes.ts";

export type BuildOptions = {
  readonly source: Source;
  readonly library: Library;
  readonly secrets: ReadonlyMap<ParsedSecret, string>;
  /** Milliseconds since the epoch. */
  readonly now: number;
};
export type Built = { readonly policies: readonly Policy[]; readonly warnings: readonly Diagnostic[] };

export function buildPolicies(parsed: ParsedConfig["policies"], options: BuildOptions): Built {
  const warnings = [...options.library.values()]
    .filter(({ shipped }) => !shipped)
    .flatMap(({ source, hosts }) =>
      hosts.flatMap((host, index) => warnOfPublic(host, { source, path: ["hosts", index] })),
    );
  const policies = Object.entries(parsed).map(([name, policy]): Policy => {
    const rules = (key: "allow" | "deny" | "splice" | "tcp"): Rule[] =>
      policy[key].map((rule, index) => {
        const path = ["policies", name, key, index];
        warnings.push(...warnOfRule(rule, { ...options, path, allows: key !== "deny" }));
        return toRule(rule, options.source, path);
      });
    return {
      name,
      presets: flattenPresets(options.library, policy.preset),
      methods: policy.methods,
      intents: policy.intents,
      mode: policy.mode,
      ask: policy.ask,
      allow: rules("allow"),
      deny: rules("deny"),
      splice: rules("splice"),
      tcp: rules("tcp"),
      ...(policy.budgets !== undefined && {
        budgets: budgetsOf(policy.budgets, ["policies", name, "budgets"], options.source),
      }),
      ...(policy.secrets.length > 0 && { secrets: secretsOf(policy.secrets, name, options) }),
      keepQueries: policy.queries === "kept",
      showRule: policy.show_rules,
    };
  });
  return { policies, warnings };
}

function secretsOf(
  secrets: readonly ParsedSecret[],
  policy: string,
  { secrets: values, source }: BuildOptions,
): SecretUse[] {
  return secrets.map((secret, index) => {
    const { line, column } = source.at(["policies", policy, "secrets", index], "value");
    const { name, hosts, as } = secret;
    const value = new Secret(values.get(secret) ?? "");
    return { name, value, hosts, as, source: `${source.file}:${line}:${column}` };
  });
}

function toRule(rule: ParsedRule, source: Source, path: Path): Rule {
  const { line, column } = source.at(path, "value");
  const place = `${source.file}:${line}:${column}`;
  if (typeof rule === "string") return { host: rule, source: place };
  // zod leaves out what is not written, though its types do not say so.
  return { ...rule, source: place } as Rule;
}

type RuleContext = { source: Source; now: number; path: Path; allows: boolean };

function warnOfRule(rule: ParsedRule, { source, now, path, allows }: RuleContext): Diagnostic[] {
  if (typeof rule === "string") return allows ? warnOfPublic(rule, { source, path }) : [];
  const expired = rule.expires !== undefined && rule.expires <= now;
  return [
    ...(expired
      ? [source.warning(source.at([...path, "expires"], "value"), "this rule has expired and does nothing")]
      : []),
    ...(allows ? warnOfPublic(rule.host, { source, path: [...path, "host"] }) : []),
  ];
}

function warnOfPublic(pattern: string, { source, path }: { source: Source; path: Path }): Diagnostic[] {
  const why = publicPattern(pattern);
  return why === undefined
    ? []
    : [source.warning(source.at(path, "value"), `${JSON.stringify(pattern)}: ${why}`)];
}
