// Drives the load program (bench/peers/go/load) and reads what the proxy spent meanwhile.

import type { ChildProcess } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { once } from "node:events";
import type { Lab } from "./lab.ts";
import { cpuOf, end, start } from "./processes.ts";

/** As the program's Orders; what is left out is its zero value. */
export type Orders = {
  readonly via: "connect" | "tls" | "plain";
  readonly proxy: string;
  readonly users?: number;
  readonly host: string;
  readonly firstHost?: number;
  readonly hosts?: number;
  readonly port: number;
  readonly trusted: string;
  readonly method: string;
  readonly path: string;
  readonly body?: number;
  readonly status: number;
  readonly connections: number;
  readonly lifetime?: number;
  readonly streams?: number;
  readonly requests: number;
  readonly seconds: number;
  readonly warmup?: number;
  readonly rate?: number;
};

export type Found = {
  readonly requests: number;
  readonly errors: number;
  readonly error: string;
  readonly seconds: number;
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly protocol: string;
};

/** A load whose connections are open and warm. */
export type ReadyLoad = {
  run(): Promise<Found>;
  /** Closes its connections. */
  end(): Promise<void>;
};

export async function readyLoad(lab: Lab, orders: Orders): Promise<ReadyLoad> {
  const child = start([lab.program("load")], { core: 1 });
  if (child.stdout === null) throw new Error("the load has no output");
  const lines = createInterface({ input: child.stdout });
  const next = reader(child, lines);
  child.stdin?.write(`${JSON.stringify(orders)}\n`);
  const first = await next();
  if (first !== "ready") throw new Error(first);
  return {
    async run() {
      child.stdin?.write("go\n");
      const found = JSON.parse(await next(), lowered) as Found;
      if (found.errors > 0) throw new Error(`${found.errors} requests failed: ${found.error}`);
      if (found.requests === 0) throw new Error("not one request was answered");
      return found;
    },
    end: () => end(child),
  };
}

export type Spent = Found & {
  /** Seconds of CPU of the proxy's whole tree of processes. */
  readonly cpu: number;
};

/** One round: warm up, then measure what the process spends. */
export async function measure(lab: Lab, pid: number, orders: Orders): Promise<Spent> {
  const load = await readyLoad(lab, orders);
  try {
    const before = await cpuOf(pid);
    const found = await load.run();
    return { ...found, cpu: (await cpuOf(pid)) - before };
  } finally {
    await load.end();
  }
}

function reader(child: ChildProcess, lines: Interface): () => Promise<string> {
  const read = lines[Symbol.asyncIterator]();
  return async () => {
    const { value, done } = await read.next();
    if (done !== true) return value;
    if (child.exitCode === null) await once(child, "exit");
    throw new Error("the load ended early");
  };
}

/** Go writes its names with a capital. */
function lowered(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key.toLowerCase(), one]));
}
