// Two workers beside one: the throughput of both where the machine has cores for all, else of each on a core of its own, in turn.

import { availableParallelism } from "node:os";
import { median } from "./figures.ts";
import { startSallyport } from "./kinds/sallyport.ts";
import type { Lab } from "./lab.ts";
import { measure } from "./load.ts";
import { ordersFor } from "./orders.ts";
import type { Running } from "./peer.ts";
import { childrenOf, end } from "./processes.ts";
import { table } from "./report.ts";
import type { Study } from "./study.ts";

/** Two for the workers, one for load and origin each. */
const CORES_NEEDED = 4;
const CONNECTIONS = 64;

export const workers: Study = {
  name: "workers",
  title: `two workers beside one, GET of 1 KiB, ${CONNECTIONS} connections`,
  async run(lab, { rounds, seconds }) {
    const free = availableParallelism() >= CORES_NEEDED;
    const core = free ? ({ core: "any" } as const) : {};
    const one = await startSallyport(lab, core);
    try {
      const two = await startSallyport(lab, { ...core, more: "workers: 2" });
      try {
        const asked = { seconds, connections: CONNECTIONS };
        const figures = free ? figuresOf : inTurn;
        const found: { one: Figures; two: Figures }[] = [];
        for (let round = 0; round <= rounds; round++) {
          const pair = { one: await figures(lab, one, asked), two: await figures(lab, two, asked) };
          if (round > 0) found.push(pair);
        }
        const speedup = median(found.map((pair) => pair.two.perSecond / pair.one.perSecond));
        const row = (name: string, key: "one" | "two"): string[] => [
          name,
          median(found.map((pair) => pair[key].cpu)).toFixed(1),
          median(found.map((pair) => pair[key].perSecond)).toFixed(0),
        ];
        const how = free ? "both at once" : "each on the one free core, in turn";
        return {
          figures: { speedup },
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
type Asked = { readonly seconds: number; readonly connections: number };

/**
 * Each process that serves alone on the proxy's core with its part of the connections, while the others stand still: together, what they do
 * on cores of their own. The rate is what their CPU a request lets a core bear, whether or not the load keeps it busy.
 */
async function inTurn(lab: Lab, running: Running, { seconds, connections }: Asked): Promise<Figures> {
  const workers = await childrenOf(running.pid);
  const serving = workers.length === 0 ? [running.pid] : workers;
  const each: number[] = [];
  for (const pid of serving) {
    const others = serving.filter((other) => other !== pid);
    for (const other of others) process.kill(other, "SIGSTOP");
    try {
      const asked = { seconds, connections: connections / serving.length };
      each.push((await figuresOf(lab, running, asked)).cpu);
    } finally {
      for (const other of others) process.kill(other, "SIGCONT");
    }
  }
  return { cpu: median(each), perSecond: each.reduce((sum, cpu) => sum + 1e6 / cpu, 0) };
}

async function figuresOf(lab: Lab, running: Running, asked: Asked): Promise<Figures> {
  const found = await measure(lab, running.pid, ordersFor(lab, running, { warmup: 1, ...asked }));
  return { cpu: (found.cpu / found.requests) * 1e6, perSecond: found.requests / found.seconds };
}
