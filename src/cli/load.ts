// The operator's configuration for a command: loaded as the server loads it, or refused with every diagnostic.

import { formatDiagnostic } from "../config/diagnostic.ts";
import { loadConfig } from "../config/load.ts";
import type { Loaded } from "../config/types.ts";
import type { Context, GlobalOptions } from "./context.ts";
import { CliError } from "./errors.ts";

export type Valid = Extract<Loaded, { ok: true }>;

export async function loadValid(context: Context, options: GlobalOptions): Promise<Valid> {
  const loaded = await load(context, options.config);
  if (loaded.ok) return loaded;
  const lines = loaded.diagnostics.map(formatDiagnostic).join("\n");
  throw new CliError(`the configuration is not valid:\n${lines}`);
}

export function load(context: Context, path: string | undefined): Promise<Loaded> {
  return loadConfig({ ...(path === undefined ? {} : { path }), cwd: context.cwd, env: context.env });
}
