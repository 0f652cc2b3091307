// A wall around one command: namespaces of its own, with a network that has nothing but a loopback, so that the proxy's socket is the
// only way out. It must never start the command where the wall could not be built.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { constants } from "node:os";
import { extname } from "node:path";
import type { Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** What the program inside is told. */
export type Inside = {
  /** Unix socket that leads to the proxy. */
  readonly socket: string;
  /** Loopback port, inside, that leads to it. */
  readonly port: number;
  readonly uid: number;
  readonly gid: number;
  /** Directories and files that are empty inside: the proxy's own, secrets, and where other programs' sockets are. */
  readonly hidden: readonly string[];
  readonly command: readonly string[];
};

/** Why no wall can be built here; `undefined`: it can. */
export function whyNoWall(): string | undefined {
  if (process.platform !== "linux") return "namespaces are Linux's alone";
  const { error, status, stderr } = spawnSync(
    "unshare",
    [...OUTER, "--", "unshare", ...owner(0, 0), "true"],
    {
      encoding: "utf8",
      timeout: PROBE_MS,
    },
  );
  if (error !== undefined)
    return `unshare (util-linux 2.36 or newer) cannot be run: ${"code" in error ? String(error.code) : error.message}`;
  if (status !== 0) return `the kernel allows no namespaces to this user (${stderr.trim()})`;
  const ip = spawnSync("ip", ["-V"], { timeout: PROBE_MS });
  return ip.error === undefined ? undefined : "ip (iproute2) is not there";
}

export type Walled = {
  /** As a shell tells it: 128 and the signal's number where one ended it. */
  readonly ended: Promise<number>;
  signal(name: NodeJS.Signals): void;
};

export function startWalled(inside: Inside, env: NodeJS.ProcessEnv): Walled {
  // From source or from a build, as this is.
  const program = fileURLToPath(new URL(`../cli/inside${extname(import.meta.filename)}`, import.meta.url));
  const child = spawn("unshare", [...OUTER, "--", process.execPath, program, JSON.stringify(inside)], {
    env,
    stdio: ["inherit", "inherit", "inherit", "pipe"],
  });
  const orders = child.stdio[3] as Writable;
  orders.on("error", () => {});
  return { ended: endOf(child), signal: (name) => void orders.write(`${name}\n`) };
}

/** Without a wall: nothing but the environment leads through the proxy. */
export function startUnwalled(command: readonly string[], env: NodeJS.ProcessEnv): Walled {
  const [file = "", ...args] = command;
  const child = spawn(file, args, { env, stdio: "inherit" });
  return { ended: endOf(child), signal: (name) => void child.kill(name) };
}

export function endOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve) => {
    child.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ENOENT" ? 127 : 126));
    child.once("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? "SIGKILL"]));
  });
}

/** The command's own user namespace: what it is outside, and none of the rights that built the wall. */
export function owner(uid: number, gid: number): string[] {
  return ["--user", `--map-user=${uid}`, `--map-group=${gid}`];
}

const OUTER = [
  "--user",
  "--map-root-user",
  "--net",
  "--mount",
  "--ipc",
  "--uts",
  "--pid",
  "--fork",
  "--kill-child",
  "--mount-proc",
];
const PROBE_MS = 5_000;
