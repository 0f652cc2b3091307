// The program as a process that a test can kill, signal and start again in the same directory, and read the memory of.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { plainEnvironment } from "./real-sallyport.ts";

export type Child = {
  readonly pid: number;
  readonly port: number;
  readonly adminPort: number;
  /** The log so far, JSON lines. */
  readonly log: readonly string[];
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves once a line of the log matches. */
  logged(pattern: RegExp): Promise<string>;
  /** Resident memory in MiB. */
  memory(): Promise<number>;
};

/** `yaml`: sallyport.yaml less `listen`, `admin` and `log`. */
export async function writeConfig(directory: string, yaml: string): Promise<void> {
  const head = `listen: ["127.0.0.1:0"]\nadmin: "127.0.0.1:0"\nlog: { level: info, format: json }\n`;
  // In one step: the watch must not find it half written.
  const file = join(directory, "sallyport.yaml");
  await writeFile(`${file}.new`, head + yaml);
  await rename(`${file}.new`, file);
}

/** Starts it without waiting for anything: what it does first can be cut short as well. */
export function launch(
  directory: string,
  node: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  return spawn(process.execPath, [...node, PROGRAM, "run"], {
    cwd: directory,
    env: { ...plainEnvironment(), ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
}

export async function startChild(
  directory: string,
  node: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Child> {
  const child = launch(directory, node, env);
  const log: string[] = [];
  const looks = new Set<() => void>();
  let gone = false;
  const ended = once(child, "close").then(([code, signal]) => {
    gone = true;
    for (const look of looks) look();
    return (code ?? signal) as number | string;
  });
  if (child.stderr === null || child.pid === undefined) throw new Error("it did not start");
  const { pid } = child;
  createInterface({ input: child.stderr }).on("line", (line) => {
    log.push(line);
    for (const look of looks) look();
  });
  const logged = (pattern: RegExp): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const line = log.find((one) => pattern.test(one));
        if (line === undefined && !gone) return;
        looks.delete(look);
        if (line === undefined) reject(new Error(`it ended before it logged ${pattern}:\n${log.join("\n")}`));
        else resolve(line);
      };
      looks.add(look);
      look();
    });
  const port = async (of: string): Promise<number> => {
    const line = await logged(new RegExp(`"port":\\d+,"msg":"${of}"`));
    return Number(/"port":(\d+)/.exec(line)?.[1]);
  };
  return {
    pid,
    port: await port("listening"),
    adminPort: await port("admin listening"),
    log,
    ended,
    signal: (signal) => void child.kill(signal),
    logged,
    async memory() {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
    },
  };
}

const PROGRAM = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
