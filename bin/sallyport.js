#!/usr/bin/env -S node --max-semi-space-size=2 --no-allocation-site-pretenuring --heap-growing-percent=200
// Starts the CLI on a Node that can run it: from a clone (TypeScript as written, on the pinned Node that `npm ci`
// installed) or from a published build (dist/). Written for old Nodes too, so that they get an answer and not a stack.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const OLDEST = 24;
const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const cloned = at("../src/cli/main.ts");
// In a clone the sources win: a build that lies about there may be old.
const main = existsSync(cloned) ? cloned : at("../dist/cli/main.js");
const pinned = at("../node_modules/.bin/node");

if (Number.parseInt(process.versions.node, 10) >= OLDEST) {
  await start();
} else if (existsSync(pinned) && process.env.SALLYPORT_LAUNCHED === undefined) {
  handOver();
} else {
  fail(
    `needs Node ${OLDEST} or newer, and this is ${process.version} (${process.execPath}).\n` +
      "Install a newer Node; or, in a clone, run `npm ci`, which brings the right one along.",
  );
}

async function start() {
  delete process.env.SALLYPORT_LAUNCHED;
  if (!existsSync(main))
    return fail("this build is incomplete: there is no dist/cli/main.js. Run `npm run build`.");
  await (await import(main)).main();
}

/** Runs the pinned Node in this one's place: same streams, same signals, same end. */
function handOver() {
  const self = [...process.execArgv, fileURLToPath(import.meta.url)];
  const child = spawn(pinned, [...self, ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, SALLYPORT_LAUNCHED: "1" },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"])
    process.on(signal, () => child.kill(signal));
  child.on("error", (error) => fail(`${pinned} cannot be run: ${error.message}. Run \`npm ci\` again.`));
  child.on("exit", (code, signal) => {
    process.exitCode = code === null ? 128 + constants.signals[signal] : code;
  });
}

function fail(text) {
  process.stderr.write(`sallyport: ${text}\n`);
  process.exitCode = 1;
}
