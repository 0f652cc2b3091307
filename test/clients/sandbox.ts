// A sandbox for a real client: a home of its own and the environment that `sallyport env` prints, nothing else of this
// machine's. Tells what the client did and what the person at it saw.

import { execFileSync, spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { describeUnless } from "../support/needs.ts";
import { findProgram } from "../support/programs.ts";
import { plainEnvironment, type RealSallyport } from "../support/real-sallyport.ts";

export type Ran = {
  /** `null`: ended by a signal. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Both, as a person at a terminal sees them. */
  readonly seen: string;
};

export type Sandbox = {
  readonly home: string;
  readonly variables: Readonly<Record<string, string>>;
  run(command: readonly string[], options?: RunOptions): Promise<Ran>;
};

export type RunOptions = {
  readonly cwd?: string;
  readonly stdin?: string;
  /** Beside the sandbox's own; never proxy or CA variables. */
  readonly variables?: Readonly<Record<string, string>>;
};

export async function openSandbox({ directory, environment }: RealSallyport): Promise<Sandbox> {
  const home = join(directory, "home");
  await mkdir(home, { recursive: true });
  const variables = { ...plainEnvironment(), ...environment, HOME: home };
  return {
    home,
    variables,
    run: ([program = "", ...args], { cwd = home, stdin = "", variables: more = {} } = {}) =>
      new Promise((resolve, reject) => {
        const child = spawn(program, args, { cwd, env: { ...variables, ...more }, timeout: LIMIT_MS });
        const out = { stdout: "", stderr: "", seen: "" };
        for (const name of ["stdout", "stderr"] as const) {
          child[name].setEncoding("utf8").on("data", (text: string) => {
            out[name] += text;
            out.seen += text;
          });
        }
        child.once("error", reject);
        child.once("close", (code) => resolve({ code, ...out }));
        // A client that is refused early does not read the rest.
        child.stdin.on("error", () => {});
        child.stdin.end(stdin);
      }),
  };
}

/** A suite that needs these programs, `root` (to listen on low ports), or `namespaces` that can be made. */
export function describeWith(title: string, needs: readonly string[], body: () => void): void {
  const missing = needs.filter((need) => {
    if (need === "root") return process.getuid?.() !== 0;
    return need === "namespaces" ? !mayMakeNamespaces() : findProgram(need) === undefined;
  });
  const why = `not on this machine: ${missing.join(", ")} (scripts/setup-tests.sh)`;
  describeUnless(title, missing.length === 0 ? undefined : why, body);
}

function mayMakeNamespaces(): boolean {
  try {
    execFileSync("unshare", ["--net", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** The interpreter itself: a version manager's shim finds it by the home that a sandbox does not have. */
export function findPython(): string {
  return execFileSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();
}

const LIMIT_MS = 120_000;
