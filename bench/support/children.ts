// The programs of this folder as processes of their own: the origin and the proxy, which say their ports, and the load, which says
// what it saw.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { NODE_FLAGS } from "../../scripts/node-flags.ts";

export type Started = { readonly pid: number; readonly ports: readonly number[] };
export type LoadResult = { readonly seconds: number; readonly p50: number; readonly p99: number };

const children: ChildProcess[] = [];

export const startOrigin = (cert: string, key: string): Promise<Started> =>
  start("origin.ts", [], { CERT: cert, KEY: key });

/** From the sallyport.yaml in a directory, on Node as every launcher starts it. */
export const startProxy = (directory: string): Promise<Started> =>
  start("sallyport.ts", NODE_FLAGS, { DIRECTORY: directory });

async function start(
  script: string,
  flags: readonly string[],
  env: Record<string, string>,
): Promise<Started> {
  const child = spawn(process.execPath, [...flags, join(import.meta.dirname, script)], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { pid: child.pid ?? 0, ports: JSON.parse(String(line)) as number[] };
}

export async function runLoad(load: object): Promise<LoadResult> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "load.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdin.end(JSON.stringify(load));
  let text = "";
  for await (const chunk of child.stdout) text += String(chunk);
  return JSON.parse(text) as LoadResult;
}

export function killAll(): void {
  for (const child of children) child.kill("SIGKILL");
}
