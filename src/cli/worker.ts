// A worker's program, started by the primary alone. Signals are the primary's business: a terminal or a service manager
// sends them to all processes at once, and this one must drain when it is told to.

import { runWorker } from "../assemble/worker.ts";
import { connectPrimary } from "../cluster/link.ts";
import { note, processContext } from "./context.ts";

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2"] as const) process.on(signal, () => {});

/** To write what the audit log has still to write. */
const ORPHANED_MS = 3_000;
const context = processContext();
if (process.send === undefined) {
  note(context, "a worker is started by `sallyport run`, with `workers` in its file.");
  process.exit(1);
}
const link = connectPrimary();
// Whatever else holds it up, nothing is served without a primary.
void link.lost.then(() => setTimeout(() => process.exit(1), ORPHANED_MS));
try {
  await runWorker(link, context.env);
  process.exit();
} catch (error) {
  note(context, `a worker failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
