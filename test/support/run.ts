// One command to its end, in an environment of its own: how it ended, and what it said.

import { spawn } from "node:child_process";

export type Ran = { readonly status: number | null; readonly stdout: string; readonly stderr: string };

export function run(
  program: string,
  args: readonly string[],
  options: { cwd: string; env: Record<string, string> },
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 });
    const out = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].on("data", (text: Buffer) => (out[name] += text.toString()));
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, ...out }));
  });
}
