// Two workers beside one: the throughput of both where the machine has cores for all, else what their CPU a request lets expect.

import { availableParallelism } from "node:os";
import { median } from "./figures.ts";
import { startSallyport } from "./kinds/sallyport.ts";
import type { Lab } from "./lab.ts";
import { measure } from "./load.ts";
import { ordersFor } from "./orders.ts";
import type { Running } from "./peer.ts";
import { end } from "./processes.ts";
import { table } from "./report.ts";
import type { Study } from "./study.ts";

/** Two for the workers, one for load and origin each. */
const CORES_NEEDED = 4;

export const workers: Study = {
  name: "workers",
  title: "two workers beside one, GET of 1 KiB, 64 connections",
  async run(lab, { rounds, seconds }) {
    const free = availableParallelism() >= CORES_NEEDED;
    const one = await startSallyport(lab, { core: "any" });
    try {
      const two = await startSallyport(lab, { core: "any", more: "workers: 2" });
      try {
        const found: { one: Figures; two: Figures }[] = [];
        for (let round = 0; round <= rounds; round++) {
          const pair = { one: await figuresOf(lab, one, seconds), two: await figuresOf(lab, two, seconds) };
          if (round > 0) found.push(pair);
        }
        const faster = median(found.map((pair) => pair.two.perSecond / pair.one.perSecond));
        const dearer = median(found.map((pair) => pair.two.cpu / pair.one.cpu));
        const speedup = free ? faster : 2 / dearer;
        const row = (name: string, key: "one" | "two"): string[] => [
          name,
          median(found.map((pair) => pair[key].cpu)).toFixed(1),
          median(found.map((pair) => pair[key].perSecond)).toFixed(0),
        ];
        const how = free ? "measured" : `2 / ${dearer.toFixed(2)}: too few cores to measure it`;
        return {
          figures: { faster, dearer, speedup },
          text: table([["", "CPU us", "requests/s"], row("one worker", "one"), row("two workers", "two")]),
          targets: [
            {
              asked: ">= 1.8 x one worker's throughput",
              reached: `${speedup.toFixed(2)} (${how})`,
              met: speedup >= 1.8,
            },
          ],
        };
      } finally {
        await end(two.child);
      }
    } finally {
      await end(one.child);
    }
  },
};

type Figures = { readonly cpu: number; readonly perSecond: number };

async function figuresOf(lab: Lab, running: Running, seconds: number): Promise<Figures> {
  const orders = ordersFor(lab, running, { seconds, warmup: 1, connections: 64 });
  const found = await measure(lab, running.pid, orders);
  return { cpu: (found.cpu / found.requests) * 1e6, perSecond: found.requests / found.seconds };
}
