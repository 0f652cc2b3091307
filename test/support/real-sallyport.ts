// The real program, as a process of its own, and the environment that `sallyport env` makes for its sandboxes. Nothing of
// this machine's own proxy or CA settings reaches either.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type AuditFollower, followAudit } from "./audit-records.ts";

export type RealSallyport = AsyncDisposable &
  AuditFollower & {
    readonly directory: string;
    readonly port: number;
    readonly adminPort: number;
    /** `http://127.0.0.1:PORT` */
    readonly url: string;
    readonly auditDirectory: string;
    /** What `sallyport env --format json` printed. */
    readonly environment: Readonly<Record<string, string>>;
    /** Another command of the program, over the same file; fails where the command fails. */
    sallyport(args: readonly string[]): Promise<{ stdout: string; stderr: string }>;
  };

/** `yaml`: sallyport.yaml less `listen`, `admin` and `log`, which this adds. `sandbox`: whose environment it is. */
export async function startRealSallyport(yaml: string, sandbox?: string): Promise<RealSallyport> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-real-"));
  // apt reads what it is to trust as a user of its own.
  await chmod(directory, 0o755);
  const file = join(directory, "sallyport.yaml");
  const head = `listen: ["127.0.0.1:0"]\nadmin: "127.0.0.1:0"\nlog: { level: info, format: json }\n`;
  await writeFile(file, head + yaml);
  const child = spawn(process.execPath, [PROGRAM, "run", "--config", file], {
    cwd: directory,
    env: plainEnvironment(),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const { port, adminPort } = await listening(child);
  const url = `http://127.0.0.1:${port}`;
  const sallyport = (args: readonly string[]): Promise<{ stdout: string; stderr: string }> =>
    promisify(execFile)(process.execPath, [PROGRAM, ...args, "--config", file], {
      cwd: directory,
      env: plainEnvironment(),
    });
  const whose = sandbox === undefined ? [] : ["--sandbox", sandbox];
  const { stdout } = await sallyport(["env", "--format", "json", "--proxy", url, ...whose]);
  const auditDirectory = join(directory, "data", "audit");
  return {
    directory,
    port,
    adminPort,
    url,
    auditDirectory,
    environment: JSON.parse(stdout) as Record<string, string>,
    sallyport,
    ...followAudit(auditDirectory),
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, "exit");
        child.kill("SIGKILL");
        await ended;
      }
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** The ports that the log names; keeps reading it, so that the proxy never waits for its reader. */
function listening(child: ChildProcess): Promise<{ port: number; adminPort: number }> {
  const lines: string[] = [];
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => fail("it does not listen after 20 s"), 20_000);
    const fail = (why: string): void => {
      clearTimeout(late);
      child.kill("SIGKILL");
      reject(new Error(`sallyport run: ${why}\n${lines.join("\n")}`));
    };
    child.once("exit", (code) => fail(`exited with ${code}`));
    if (child.stderr === null) return fail("has no log");
    const ports = new Map<string, number>();
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (lines.length < 100) lines.push(line);
      const [, named, what] = /"port":(\d+),"msg":"((?:admin )?listening)"/.exec(line) ?? [];
      if (named !== undefined && what !== undefined) ports.set(what, Number(named));
      const port = ports.get("listening");
      const adminPort = ports.get("admin listening");
      if (port === undefined || adminPort === undefined) return;
      clearTimeout(late);
      resolve({ port, adminPort });
    });
  });
}

/** This machine's environment less everything about proxies, certificates and Node. */
export function plainEnvironment(): Record<string, string> {
  const kept = ["PATH", "TMPDIR"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { LC_ALL: "C.UTF-8", ...Object.fromEntries(kept) };
}

const PROGRAM = fileURLToPath(new URL("../../bin/sallyport.js", import.meta.url));
