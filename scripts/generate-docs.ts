// Writes the generated parts of docs/: whole files, and sections between `<!-- generated:NAME -->` and
// `<!-- /generated -->`. `--check` writes nothing and exits 1 where a file is not current.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { auditRecordJsonSchema, renderAuditReference } from "../src/audit/reference.ts";
import { environmentReference } from "../src/cli/environment-reference.ts";
import { configJsonSchema, requirementsJsonSchema } from "../src/config/json-schema.ts";
import { configReference, requirementsReference } from "../src/config/reference.ts";
import { renderReasons } from "../src/net/reference.ts";
import { renderMetricsTable } from "../src/telemetry/reference.ts";

export type Generated = {
  /** From the top of the repository. */
  readonly file: string;
  /** Names the section; absent: the whole file. */
  readonly marker?: string;
  readonly render: () => string;
};

/** Add a section: one entry here, and its markers in the file. */
export const GENERATED: readonly Generated[] = [
  { file: "docs/configuration.md", marker: "config", render: configReference },
  {
    file: "docs/sallyport.schema.json",
    render: () => `${JSON.stringify(configJsonSchema(), undefined, 2)}\n`,
  },
  { file: "docs/requirements.md", marker: "requirements", render: requirementsReference },
  {
    file: "docs/requirements.schema.json",
    render: () => `${JSON.stringify(requirementsJsonSchema(), undefined, 2)}\n`,
  },
  { file: "docs/environment.md", marker: "environment", render: environmentReference },
  { file: "docs/audit.md", marker: "audit", render: renderAuditReference },
  {
    file: "docs/audit-record.schema.json",
    render: () => `${JSON.stringify(auditRecordJsonSchema(), undefined, 2)}\n`,
  },
  { file: "docs/reasons.md", marker: "reasons", render: renderReasons },
  { file: "docs/metrics.md", marker: "metrics", render: renderMetricsTable },
];

export type Rendered = { readonly file: string; readonly before: string; readonly after: string };

/** What each file holds and should hold. */
export async function renderAll(generated: readonly Generated[] = GENERATED): Promise<Rendered[]> {
  const files = new Map<string, Rendered>();
  for (const { file, marker, render } of generated) {
    const before = files.get(file)?.before ?? (await readFile(join(ROOT, file), "utf8").catch(() => ""));
    const current = files.get(file)?.after ?? before;
    const after = marker === undefined ? render() : replaceSection(current, { file, marker, text: render() });
    files.set(file, { file, before, after });
  }
  return [...files.values()];
}

function replaceSection(current: string, section: { file: string; marker: string; text: string }): string {
  const { file, marker, text } = section;
  const open = `<!-- generated:${marker} -->`;
  const start = current.indexOf(open);
  const end = current.indexOf(CLOSE, start);
  if (start < 0 || end < 0) throw new Error(`${file} has no section ${open} … ${CLOSE}`);
  return `${current.slice(0, start + open.length)}\n\n${text.trim()}\n\n${current.slice(end)}`;
}

async function main(check: boolean): Promise<void> {
  const stale = (await renderAll()).filter(({ before, after }) => before !== after);
  for (const { file, after } of stale) {
    if (!check) await writeFile(join(ROOT, file), after);
    process.stdout.write(
      `${file}: ${check ? "not current; run node scripts/generate-docs.ts" : "written"}\n`,
    );
  }
  if (check && stale.length > 0) process.exitCode = 1;
}

const ROOT = join(import.meta.dirname, "..");
const CLOSE = "<!-- /generated -->";

if (import.meta.main) await main(process.argv.includes("--check"));
