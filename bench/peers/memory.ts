// Memory: of a process at rest, and of each idle intercepted connection, once its request has been answered.

import { setTimeout as wait } from "node:timers/promises";
import { startSallyport } from "./kinds/sallyport.ts";
import { readyLoad } from "./load.ts";
import { ordersFor } from "./orders.ts";
import { descriptorLimit, end, memoryOf } from "./processes.ts";
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
          each,
          before: before.rss,
          after: after.rss,
        },
        text: table([
          ["", "RSS MiB", "PSS MiB", "descriptors"],
          ["at rest", mib(rest.rss), mib(rest.pss), String(rest.descriptors)],
          ["after some load", mib(before.rss), mib(before.pss), String(before.descriptors)],
          [`${connections} idle connections`, mib(after.rss), mib(after.pss), String(after.descriptors)],
        ]),
        targets: [
          { asked: "<= 45 KiB an idle intercepted connection", reached: each.toFixed(1), met: each <= 45 },
          { asked: "<= 80 MiB a worker at rest", reached: `RSS ${mib(rest.rss)}`, met: rest.rss <= 80 },
        ],
      };
    } finally {
      await end(running.child);
    }
  },
};

const mib = (value: number): string => value.toFixed(1);
