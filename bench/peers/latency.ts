// What Sallyport adds to a request's time at 30 % of the load that it could bear: through it and direct in turn, at the same
// rate, each request due at a set time and counted from then.

import { median } from "./figures.ts";
import { startSallyport } from "./kinds/sallyport.ts";
import type { Lab } from "./lab.ts";
import { measure, type Orders, type Spent } from "./load.ts";
import { ordersFor } from "./orders.ts";
import { end } from "./processes.ts";
import { table } from "./report.ts";
import type { Pace } from "./rounds.ts";
import type { Study } from "./study.ts";

export const latency: Study = {
  name: "latency",
  title: "added latency at 30 % load, GET of 1 KiB, 32 connections",
  async run(lab, { rounds, seconds }) {
    const running = await startSallyport(lab, {});
    try {
      const through = ordersFor(lab, running, { seconds, warmup: 1 });
      const direct: Orders = {
        ...through,
        via: "tls",
        proxy: `127.0.0.1:${lab.origin.secured}`,
        trusted: lab.ca.pem,
      };
      const full = await capacity(lab, running.pid, through, { rounds, seconds });
      const rate = full * 0.3;
      const found: { ours: Spent; bare: Spent }[] = [];
      for (let round = 0; round < rounds; round++) {
        const ours = await measure(lab, running.pid, { ...through, rate });
        found.push({ ours, bare: await measure(lab, running.pid, { ...direct, rate }) });
      }
      const of = (who: "ours" | "bare", at: "p50" | "p99"): number =>
        median(found.map((round) => round[who][at]));
      const added = (at: "p50" | "p99"): number => median(found.map(({ ours, bare }) => ours[at] - bare[at]));
      const figures = {
        rate,
        directP50: of("bare", "p50"),
        directP99: of("bare", "p99"),
        throughP50: of("ours", "p50"),
        throughP99: of("ours", "p99"),
        addedP50: added("p50"),
        addedP99: added("p99"),
      };
      const shown = (value: number): string => value.toFixed(2);
      return {
        figures,
        text: table([
          [`at ${rate.toFixed(0)} requests/s`, "p50 ms", "p99 ms"],
          ["direct", shown(figures.directP50), shown(figures.directP99)],
          ["through Sallyport", shown(figures.throughP50), shown(figures.throughP99)],
          ["added", shown(figures.addedP50), shown(figures.addedP99)],
        ]),
        targets: [
          {
            asked: "p50 <= 0.5 ms over direct",
            reached: shown(figures.addedP50),
            met: figures.addedP50 <= 0.5,
          },
          { asked: "p99 <= 3 ms over direct", reached: shown(figures.addedP99), met: figures.addedP99 <= 3 },
        ],
      };
    } finally {
      await end(running.child);
    }
  },
};

/** Requests a second that use up a core, by the CPU that they cost: the machine's other work does not count. */
async function capacity(lab: Lab, pid: number, orders: Orders, { seconds }: Pace): Promise<number> {
  await measure(lab, pid, { ...orders, seconds });
  const { requests, cpu } = await measure(lab, pid, { ...orders, seconds });
  return requests / cpu;
}
