// What a proxy under test is to the benchmark: how it is started, what it can do, and who signs what it shows.

import type { ChildProcess } from "node:child_process";
import type { Lab } from "./lab.ts";
import { listening, start, type StartOptions } from "./processes.ts";

export type Skill = "intercept" | "bulk" | "mint" | "splice" | "plain" | "refuse" | "h2" | "idle";

export type Running = {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly proxy: string;
  /** `tls`: no CONNECT, TLS straight to its port. */
  readonly via: "connect" | "tls";
  /** PEM of whoever signs the certificates that it shows. */
  readonly trusted: string;
};

export type Peer = {
  readonly name: string;
  readonly skills: readonly Skill[];
  /** Why it cannot be had here, if so. */
  missing(): string | undefined;
  start(lab: Lab): Promise<Running>;
};

/** Starts what listens on `port` and waits for it. */
export async function launched(
  command: readonly string[],
  port: number,
  options: StartOptions & Pick<Running, "trusted"> & Partial<Pick<Running, "via">>,
): Promise<Running> {
  const { via = "connect", trusted, ...rest } = options;
  const child = start(command, { core: 0, stderr: "ignore", ...rest });
  child.stdout?.resume();
  child.stderr?.resume();
  await listening(port, child);
  return { child, pid: child.pid ?? 0, proxy: `127.0.0.1:${port}`, via, trusted };
}
