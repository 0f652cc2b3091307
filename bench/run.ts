// Runs the benchmarks named, or all that need nothing but this repository: `npm run bench [-- decide mint audit engines proxy]
// [--json] [--quick]`. One that takes names of its own is run alone, with whatever follows: `npm run bench -- peers --help`.

import { spawnSync } from "node:child_process";
import { join } from "node:path";

const ALL = ["decide", "mint", "audit", "engines", "proxy"];
const ALONE = ["peers", "growth", "soak", "profile"];
const args = process.argv.slice(2);
const flags = args.filter((arg) => arg.startsWith("--"));
const named = args.filter((arg) => !arg.startsWith("--"));
if (ALONE.includes(args[0] ?? "")) {
  run(args[0] ?? "", args.slice(1));
} else {
  const unknown = named.filter((name) => !ALL.includes(name));
  if (unknown.length > 0) {
    console.error(
      `no such benchmark: ${unknown.join(", ")} (there are ${ALL.join(", ")}; alone: ${ALONE.join(", ")})`,
    );
    process.exit(2);
  }
  for (const name of named.length > 0 ? named : ALL) {
    console.log(`\n# ${name}`);
    run(name, flags);
  }
}

function run(name: string, args: readonly string[]): void {
  const { status } = spawnSync(process.execPath, [join(import.meta.dirname, `${name}.ts`), ...args], {
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
}
