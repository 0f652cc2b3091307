// Writes an allow rule into the operator's file, in one step, once what the file then says was judged as at any reload. Never
// into a file that is not to be written, and never over what somebody changed meanwhile.

import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { appendRule, type NewRule } from "./append-rule.ts";
import { formatDiagnostic } from "./diagnostic.ts";
import { loadConfig, type LoadOptions } from "./load.ts";
import { errorCode, explain } from "./read.ts";

/** Why the rule cannot be written; `undefined`: it can be, or with `write` it is. */
export async function writeRule(
  load: LoadOptions,
  rule: NewRule,
  { write }: { readonly write: boolean },
): Promise<string | undefined> {
  const loaded = await loadConfig(load);
  if (!loaded.ok) return "the configuration is not valid as it is";
  if (loaded.file === undefined) return "there is no configuration file";
  let temporary: string | undefined;
  try {
    // Behind a link is where the file is; the link stays.
    const file = await realpath(loaded.file);
    const { mode } = await stat(file);
    if ((mode & 0o222) === 0) return "the configuration file is read-only";
    await access(file, constants.W_OK);
    await access(dirname(file), constants.W_OK);
    const text = await readFile(file, "utf8");
    const appended = appendRule(text, rule);
    if ("problem" in appended) return appended.problem;
    temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString("hex")}`);
    await writeWhole(temporary, appended.text, mode & 0o777);
    const judged = await loadConfig({ ...load, path: temporary });
    if (!judged.ok)
      return judged.diagnostics.map((one) => formatDiagnostic({ ...one, file: basename(file) })).join("; ");
    if (!write) return undefined;
    if ((await readFile(file, "utf8")) !== text) return "the configuration file was changed meanwhile";
    await rename(temporary, file);
    return undefined;
  } catch (fault) {
    return `the configuration file cannot be written: ${explain(errorCode(fault))}`;
  } finally {
    if (temporary !== undefined) await rm(temporary, { force: true });
  }
}

async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const handle = await open(path, "wx", mode);
  try {
    await handle.chmod(mode);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
