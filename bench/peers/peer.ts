// What a proxy under test is to the benchmark: how it is started, what it can do, and who signs what it shows.

import type { ChildProcess } from "node:child_process";
import type { Lab } from "./lab.ts";
import type { Orders, Spent } from "./load.ts";
import { listening, start, type StartOptions } from "./processes.ts";

export type Skill = "intercept" | "handshakes" | "bulk" | "mint" | "splice" | "plain" | "refuse";

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

/** One line of a table: a proxy, set up and used as the scenario wants it. */
export type Contender = {
  readonly name: string;
  start(lab: Lab): Promise<Running>;
  /** What it asks otherwise than the scenario. */
  readonly orders?: (lab: Lab) => Partial<Orders>;
  /** What works by itself in place of a load from outside. */
  readonly work?: (at: Running, seconds: number) => Promise<Spent>;
};

/** Starts what listens on `port` and waits for it. If it does not come up, the error holds what it said. */
export async function launched(
  command: readonly string[],
  port: number,
  options: StartOptions & Pick<Running, "trusted"> & Partial<Pick<Running, "via">>,
): Promise<Running> {
  const { via = "connect", trusted, ...rest } = options;
  const child = start(command, { core: 0, ...rest, stderr: "pipe" });
  let said = "";
  child.stdout?.resume();
  child.stderr?.on("data", (chunk: Buffer) => {
    said = (said + String(chunk)).slice(-500);
  });
  try {
    await listening(port, child);
  } catch (error) {
    throw new Error(`it did not start: ${said.trim().replaceAll("\n", "; ")}`, { cause: error });
  }
  return { child, pid: child.pid ?? 0, proxy: `127.0.0.1:${port}`, via, trusted };
}
