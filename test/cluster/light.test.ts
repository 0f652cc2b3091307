// A worker loads what serves, and nothing that reads the operator's file or signs certificates.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";

const ENTRY = join(import.meta.dirname, "../../src/cli/worker.ts");

/** Every module that is loaded with this one, by path or by the package's name. */
function loadedWith(file: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!file.endsWith(".ts")) return seen;
  const imports = readFileSync(file, "utf8").matchAll(
    /^(?:import|export)\s+(?!type\s)(?:[^"';]*?\sfrom\s+)?"([^"]+)";/gm,
  );
  for (const [, specifier = ""] of imports)
    loadedWith(specifier.startsWith(".") ? join(dirname(file), specifier) : specifier, seen);
  return seen;
}

test("neither the configuration's parsers nor the issuer's", () => {
  const loaded = loadedWith(ENTRY);
  expect(loaded).toContain("pino");
  const heavy = ["zod", "yaml", "commander", "tldts", "node-forge"];
  expect(heavy.filter((name) => loaded.has(name))).toEqual([]);
  expect(
    [...loaded].filter((file) =>
      /\/src\/(config\/(?!diagnostic)|admin|tls\/(mint\.|minter|trust-anchor))/.test(file),
    ),
  ).toEqual([]);
});
