// Processes of the benchmark: started on a core of their own, and read for the CPU time and memory of their whole tree.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer, connect, type AddressInfo } from "node:net";
import { availableParallelism } from "node:os";
import { setTimeout as wait } from "node:timers/promises";

const started = new Set<ChildProcess>();

/** Load and origins share one core, the proxy under test has the other; undefined: the system places them. */
const pinned = availableParallelism() >= 2 && spawnSync("taskset", ["-V"]).status === 0;
export const CORES = pinned ? "proxy on core 0, load and origin on core 1" : "not pinned to cores";

/** Descriptors that a process started from here may open. */
export function descriptorLimit(): number {
  return Number(spawnSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }).stdout);
}

export type StartOptions = {
  readonly core?: 0 | 1 | "any";
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Where what it says goes: a pipe to be read, or nowhere. */
  readonly stderr?: "inherit" | "ignore" | "pipe";
};

export function start(command: readonly string[], options: StartOptions = {}): ChildProcess {
  const { core = "any", cwd, env, stderr = "inherit" } = options;
  const whole = pinned && core !== "any" ? ["taskset", "-c", String(core), ...command] : command;
  const [program = "", ...args] = whole;
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["pipe", "pipe", stderr],
  });
  started.add(child);
  child.once("close", () => started.delete(child));
  return child;
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "exit");
  const tree = child.pid === undefined ? [] : await treeOf(child.pid);
  child.kill("SIGKILL");
  for (const pid of tree.slice(1)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
  await closed;
}

export async function endAll(): Promise<void> {
  await Promise.all([...started].map(end));
}

/** Waits until something listens on the port. */
export async function listening(port: number, child: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    const socket = connect(port, "127.0.0.1");
    const up = await Promise.race([
      once(socket, "connect").then(
        () => true,
        () => false,
      ),
      wait(1000, false),
    ]);
    socket.destroy();
    if (up) return;
    await wait(50);
  }
  throw new Error("nothing listened within 30 seconds");
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Seconds of user and system time of a process and all below it, those included that have ended and were waited for. */
export async function cpuOf(root: number): Promise<number> {
  let ticks = 0;
  for (const pid of await treeOf(root)) {
    const fields = await statOf(pid);
    for (const index of [11, 12, 13, 14]) ticks += Number(fields?.[index] ?? 0);
  }
  return ticks / 100;
}

export type Memory = { readonly rss: number; readonly pss: number; readonly descriptors: number };

/** MiB, and open descriptors, of a process and all below it. */
export async function memoryOf(root: number): Promise<Memory> {
  let [rss, pss, descriptors] = [0, 0, 0];
  for (const pid of await treeOf(root)) {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
    rss += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024;
    pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024;
    descriptors += (await readdir(`/proc/${pid}/fd`).catch(() => [])).length;
  }
  return { rss, pss, descriptors };
}

/** Processes that a process has started and that are still there. */
export async function childrenOf(parent: number): Promise<number[]> {
  return (await parentage()).get(parent) ?? [];
}

async function treeOf(root: number): Promise<number[]> {
  const children = await parentage();
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

async function parentage(): Promise<ReadonlyMap<number, number[]>> {
  const children = new Map<number, number[]>();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number((await statOf(Number(name)))?.[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  return children;
}

/** The fields of /proc/PID/stat after the name, which may itself hold blanks: 0 is the state, 1 the parent. */
async function statOf(pid: number): Promise<string[] | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return text?.replace(/^.*\) /s, "").split(" ");
}
