// Memory: of a process at rest, and of each idle intercepted connection, once its request has been answered.

import { setTimeout as wait } from "node:timers/promises";
import { startSallyport } from "./kinds/sallyport.ts";
import type { Lab } from "./lab.ts";
import { readyLoad } from "./load.ts";
import { ordersFor } from "./orders.ts";
import { childrenOf, descriptorLimit, end, type Memory, memoryOf } from "./processes.ts";
import { table } from "./report.ts";
import type { Study } from "./study.ts";

const CONNECTIONS = 10_000;
/** What is no longer needed is let go of, and the idle connections to the origin are closed. */
const SETTLE_MS = 10_000;

export const memory: Study = {
  name: "memory",
  title: "memory at rest and of idle intercepted connections",
  async run(lab) {
    const connections = Math.min(CONNECTIONS, descriptorLimit() - 2500);
    const running = await startSallyport(lab, {});
    try {
      await wait(SETTLE_MS / 2);
      const rest = await memoryOf(running.pid);
      const worker = await workerAtRest(lab);
      // Code and caches that the first requests need are no connection's own.
      const warm = await readyLoad(lab, ordersFor(lab, running, { warmup: 1 }));
      await warm.end();
      await wait(SETTLE_MS);
      const before = await memoryOf(running.pid);
      const load = await readyLoad(lab, ordersFor(lab, running, { connections }));
      await wait(SETTLE_MS);
      const after = await memoryOf(running.pid);
      await load.end();
      const each = ((after.rss - before.rss) * 1024) / connections;
      return {
        figures: {
          connections,
          rest: rest.rss,
          restPss: rest.pss,
          worker: worker.rss,
          each,
          before: before.rss,
          after: after.rss,
        },
        text: table([
          ["", "RSS MiB", "PSS MiB", "descriptors"],
          ["one of two workers at rest", mib(worker.rss), mib(worker.pss), String(worker.descriptors)],
          ["one process at rest", mib(rest.rss), mib(rest.pss), String(rest.descriptors)],
          ["after some load", mib(before.rss), mib(before.pss), String(before.descriptors)],
          [`${connections} idle connections`, mib(after.rss), mib(after.pss), String(after.descriptors)],
        ]),
        targets: [
          { asked: "<= 45 KiB an idle intercepted connection", reached: each.toFixed(1), met: each <= 45 },
          { asked: "<= 80 MiB a worker at rest", reached: `RSS ${mib(worker.rss)}`, met: worker.rss <= 80 },
        ],
      };
    } finally {
      await end(running.child);
    }
  },
};

/** The larger one of two. */
async function workerAtRest(lab: Lab): Promise<Memory> {
  const running = await startSallyport(lab, { more: "workers: 2" });
  try {
    await wait(SETTLE_MS / 2);
    const each = await Promise.all((await childrenOf(running.pid)).map(memoryOf));
    const [largest] = each.sort((one, other) => other.rss - one.rss);
    if (largest === undefined) throw new Error("there is no worker");
    return largest;
  } finally {
    await end(running.child);
  }
}

const mib = (value: number): string => value.toFixed(1);
