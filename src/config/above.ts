// What the operator's file says beyond the requirements, each at the key that says it.

import { excessOf, type Excess } from "../policy/exceed.ts";
import { parsePattern } from "../policy/pattern.ts";
import type { Requirements } from "../policy/requirements.ts";
import type { PolicySet } from "../policy/types.ts";
import type { Diagnostic } from "./diagnostic.ts";
import type { ParsedConfig } from "./schema.ts";
import type { Path, Source } from "./source.ts";

type Context = { readonly parsed: ParsedConfig; readonly source: Source };

export function checkRequirements(
  { policies, requirements = [] }: PolicySet,
  { parsed, source }: Context,
): Diagnostic[] {
  const error = (path: Path, message: string): Diagnostic => source.error(source.at(path, "value"), message);
  const above = policies.flatMap((policy) =>
    excessOf(policy, requirements).map((excess) =>
      error(["policies", policy.name, ...placeOf(excess, parsed.policies[policy.name])], excess.message),
    ),
  );
  return [
    ...above,
    ...requirements.flatMap(({ durability }) =>
      durability === undefined || parsed.audit.durability === durability.value
        ? []
        : [
            error(
              ["audit", "durability"],
              `the durability must be ${durability.value} (required by ${durability.source})`,
            ),
          ],
    ),
    ...byName(parsed).flatMap((path) =>
      requirements.flatMap((one) => unjudgeable(one).map((message) => error([...path, "address"], message))),
    ),
  ];
}

/** Of a preset: the one that the policy names, which may be another that includes it. */
function placeOf({ path, preset }: Excess, policy: ParsedConfig["policies"][string] | undefined): Path {
  if (preset === undefined || policy === undefined) return path;
  const index = policy.preset.findIndex((one) => one === preset.name || preset.by?.includes(one));
  return [...path, index];
}

/** A parent proxy that resolves names by itself leads wherever it likes. */
function byName({ upstream }: ParsedConfig): Path[] {
  const parents: [Path, ParsedConfig["upstream"]["parent"] | "direct"][] = [
    [["upstream", "parent"], upstream.parent],
    ...upstream.routes.map(({ parent }, index): [Path, typeof parent] => [
      ["upstream", "routes", index, "parent"],
      parent,
    ]),
  ];
  return parents.flatMap(([path, parent]) =>
    parent !== undefined && parent !== "direct" && parent.address === "name" ? [path] : [],
  );
}

function unjudgeable({ deny }: Requirements): string[] {
  const network = deny.find(({ value }) => parsePattern(value).kind === "network");
  if (network === undefined) return [];
  return [
    `addresses that the parent proxy finds are not judged, and ${network.value} is always denied (required by ${network.source})`,
  ];
}
