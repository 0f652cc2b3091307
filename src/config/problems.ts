// What `compile` and `lint` find in the policies, as diagnostics: a rule's source is the place that it was read at.

import { compile, type Snapshot } from "../policy/compile.ts";
import { lint } from "../policy/lint.ts";
import type { PolicySet } from "../policy/types.ts";
import type { Diagnostic } from "./diagnostic.ts";
import type { Source } from "./source.ts";

export type Checked = {
  readonly snapshot: Snapshot | undefined;
  readonly diagnostics: readonly Diagnostic[];
};

/** `snapshot` is there unless a pattern or path cannot be compiled; the generation is that of `set`. */
export function checkPolicies(set: PolicySet, source: Source): Checked {
  const compiled = compile(set);
  const problems = "problems" in compiled ? compiled.problems : [];
  const found = [...problems.map((problem) => ({ ...problem, severity: "error" as const })), ...lint(set)];
  const diagnostics = found.map(({ severity, source: from, message }) => ({
    ...place(from, source),
    severity,
    message,
  }));
  return { snapshot: "snapshot" in compiled ? compiled.snapshot : undefined, diagnostics };
}

/** A rule's `file:line:column`, or a policy's name. */
function place(from: string, source: Source): Omit<Diagnostic, "severity" | "message"> {
  const [, file, line, column] = PLACE.exec(from) ?? [];
  if (file !== undefined) return { file, line: Number(line), column: Number(column) };
  return { file: source.file, ...source.at(["policies", from], "key") };
}

const PLACE = /^(.+):(\d+):(\d+)$/;
