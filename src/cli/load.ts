// The operator's configuration for a command: loaded as the server loads it, or refused with every diagnostic.

import { formatDiagnostic } from "../config/diagnostic.ts";
import { loadConfig } from "../config/load.ts";
import type { Loaded } from "../config/types.ts";
import type { Context, GlobalOptions } from "./context.ts";
import { CliError } from "./errors.ts";

export async function loadValid(
  context: Context,
  options: GlobalOptions,
): Promise<Extract<Loaded, { ok: true }>> {
  const loaded = await load(context, options.config);
  if (loaded.ok) return loaded;
  throw new CliError(
    `the configuration is not valid:\n${loaded.diagnostics.map(formatDiagnostic).join("\n")}`,
  );
}

export function load(context: Context, path: string | undefined): Promise<Loaded> {
  return loadConfig({ path, cwd: context.cwd, env: context.env });
}
