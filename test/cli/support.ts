// Runs the command line: as a real child, or (much faster, for tables) in this process behind the same door; in a directory
// of its own and with nothing of the developer's environment.

import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Writable } from "node:stream";

import { runCli } from "../../src/cli/main.ts";
import { temporaryDirectory } from "../support/temporary.ts";

export const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");
export const LAUNCHER = join(import.meta.dirname, "../../bin/sallyport.js");

export type Ended = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

type Settings = { readonly cwd: string; readonly env?: Record<string, string>; readonly input?: string };

export function sallyport(args: readonly string[], { cwd, env, input }: Settings): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    cwd,
    env: environment(env),
    input: input ?? "",
    encoding: "utf8",
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}

/** As `sallyport`, without a process of its own. */
export async function sallyportHere(args: readonly string[], { cwd, env }: Settings): Promise<Ended> {
  const out: string[] = [];
  const err: string[] = [];
  const sink = (into: string[]) =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        into.push(chunk.toString());
        done();
      },
    });
  const context = { stdout: sink(out), stderr: sink(err), env: environment(env), cwd, exitCode: 0 as const };
  const status = await runCli(args, context);
  return { status, stdout: out.join(""), stderr: err.join("") };
}

export function startSallyport(args: readonly string[], { cwd, env }: Settings) {
  return spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: environment(env),
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** A new directory, with a `sallyport.yaml` if text is given for it; gone after the test file. */
export function directory(yaml?: string): string {
  const path = temporaryDirectory("sallyport-cli-");
  if (yaml !== undefined) writeFileSync(join(path, "sallyport.yaml"), yaml);
  return path;
}

function environment(env: Record<string, string> = {}): Record<string, string> {
  return { PATH: `${dirname(process.execPath)}:${process.env["PATH"]}`, HOME: "/nonexistent", ...env };
}
