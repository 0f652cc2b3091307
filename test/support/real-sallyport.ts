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
import { type AuditRecord, auditRecorded, auditRecords } from "./audit-records.ts";

export type RealSallyport = AsyncDisposable & {
  readonly directory: string;
  readonly port: number;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  readonly auditDirectory: string;
  /** What `sallyport env --format json` printed. */
  readonly environment: Readonly<Record<string, string>>;
  records(): Promise<AuditRecord[]>;
  recorded(enough: (records: AuditRecord[]) => boolean): Promise<AuditRecord[]>;
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
  const port = await listening(child);
  const url = `http://127.0.0.1:${port}`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      ...[PROGRAM, "env", "--config", file, "--format", "json", "--proxy", url],
      ...(sandbox === undefined ? [] : ["--sandbox", sandbox]),
    ],
    { cwd: directory, env: plainEnvironment() },
  );
  const auditDirectory = join(directory, "data", "audit");
  return {
    directory,
    port,
    url,
    auditDirectory,
    environment: JSON.parse(stdout) as Record<string, string>,
    records: () => auditRecords(auditDirectory),
    recorded: (enough) => auditRecorded(auditDirectory, enough),
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

/** The port in the log's first "listening"; keeps reading the log, so that the proxy never waits for its reader. */
function listening(child: ChildProcess): Promise<number> {
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
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (lines.length < 100) lines.push(line);
      const port = /"port":(\d+),"msg":"listening"/.exec(line)?.[1];
      if (port === undefined) return;
      clearTimeout(late);
      resolve(Number(port));
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
