// Runs the benchmarks named, or all: `npm run bench [-- decide mint audit engines proxy workers] [--json] [--quick]`.

import { spawnSync } from "node:child_process";
import { join } from "node:path";

const ALL = ["decide", "mint", "audit", "engines", "proxy", "workers"];
const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith("--"));
const named = args.filter((arg) => !arg.startsWith("--"));
const unknown = named.filter((name) => !ALL.includes(name));
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(", ")} (there are ${ALL.join(", ")})`);
  process.exit(2);
}
for (const name of named.length > 0 ? named : ALL) {
  console.log(`\n# ${name}`);
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, `${name}.ts`), ...flags], {
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
}
