// A directory of an operator's files, and the loader pointed at it.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { LoadOptions } from "../../src/config/load.ts";

export const SHIPPED = join(import.meta.dirname, "shipped");
export const NOW = Date.UTC(2026, 0, 1);

export type Fixture = {
  cwd: string;
  load: LoadOptions;
  write: (name: string, text: string) => Promise<string>;
};

/** Removed when the test ends. */
export async function fixture(files: Readonly<Record<string, string>> = {}): Promise<Fixture> {
  const cwd = await mkdtemp(join(tmpdir(), "sallyport-config-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const write = async (name: string, text: string): Promise<string> => {
    const path = join(cwd, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
    return path;
  };
  for (const [name, text] of Object.entries(files)) await write(name, text);
  const requirements = { file: requiredIn(cwd)[0], owner: process.getuid?.() ?? 0 };
  const load = {
    cwd,
    requirements,
    env: { TOKEN: "correct-horse-battery" },
    now: () => NOW,
    shippedPresets: SHIPPED,
  };
  return { cwd, load, write };
}

/** Where the administrator's requirements would be, and their directory. */
export function requiredIn(cwd: string): [string, string] {
  return [join(cwd, "admin/requirements.yaml"), join(cwd, "admin")];
}
