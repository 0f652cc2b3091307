// The operator's configuration for a command: read, compiled and looked over, or refused with every diagnostic.

import { type Diagnostic, formatDiagnostic, sortDiagnostics } from "../config/diagnostic.ts";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/types.ts";
import { compile, type Snapshot } from "../policy/compile.ts";
import { lint } from "../policy/lint.ts";
import type { Context, GlobalOptions } from "./context.ts";
import { CliError } from "./errors.ts";

export type Checked = {
  /** The operator's file; `undefined`: there is none, the defaults hold. */
  readonly file: string | undefined;
  readonly diagnostics: readonly Diagnostic[];
  /** `undefined`: there are errors among the diagnostics. */
  readonly valid: { readonly config: Config; readonly snapshot: Snapshot } | undefined;
};

export async function loadValid(context: Context, options: GlobalOptions) {
  const { valid, diagnostics } = await check(context, options.config);
  if (valid !== undefined) return valid;
  throw new CliError(`the configuration is not valid:\n${diagnostics.map(formatDiagnostic).join("\n")}`);
}

export async function check(context: Context, path: string | undefined): Promise<Checked> {
  const loaded = await loadConfig({ path, cwd: context.cwd, env: context.env });
  if (!loaded.ok) return { file: loaded.files[0], diagnostics: loaded.diagnostics, valid: undefined };
  const { config, policies, warnings, file } = loaded;
  const set = { generation: 1, policies };
  const compiled = compile(set);
  const problems = "problems" in compiled ? compiled.problems : [];
  const shown = path ?? "sallyport.yaml";
  const diagnostics = sortDiagnostics([
    ...warnings,
    ...problems.map(({ source, message }) => placed({ source, message, severity: "error", shown })),
    ...lint(set).map((finding) => placed({ ...finding, shown })),
  ]);
  const wrong = "problems" in compiled || diagnostics.some(({ severity }) => severity === "error");
  return { file, diagnostics, valid: wrong ? undefined : { config, snapshot: compiled.snapshot } };
}

/** A policy's rule says where it was written; a preset or a policy as a whole only what it is called. */
function placed(finding: {
  readonly source: string;
  readonly message: string;
  readonly severity: Diagnostic["severity"];
  readonly shown: string;
}): Diagnostic {
  const { source, message, severity, shown } = finding;
  const [, file, line, column] = /^(.+):(\d+):(\d+)$/.exec(source) ?? [];
  if (file === undefined)
    return { file: shown, line: 1, column: 1, severity, message: `${source}: ${message}` };
  return { file, line: Number(line), column: Number(column), severity, message };
}
