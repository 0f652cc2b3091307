// A whole Sallyport on loopback, in this process, from a configuration file in a directory of its own.

import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startSallyport, type Sallyport } from "../../src/assemble.ts";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { type AuditFollower, followAudit } from "./audit-records.ts";
import { temporaryDirectory } from "./temporary.ts";

export type RunningSallyport = AsyncDisposable &
  AuditFollower & {
    readonly directory: string;
    readonly port: number;
    readonly adminPort: number;
    /** `http://127.0.0.1:PORT` */
    readonly url: string;
    /** The trust anchor that sandboxes are to trust, PEM. */
    readonly trustAnchor: string;
    readonly sallyport: Sallyport;
    /** Replaces sallyport.yaml and reloads. */
    reconfigure(yaml: string): Promise<boolean>;
    /** Replaces what the administrator requires, and reloads: the errors, or the warnings. */
    require(yaml: string): Promise<string[]>;
    metrics(): Promise<string>;
  };

/** `yaml`: sallyport.yaml less `listen`, `admin` and `log`, which this adds; `listen`: in place of one free port; `admin`: its line; `logged`: takes all that is logged. */
export async function runSallyport(
  yaml: string,
  listen = `["127.0.0.1:0"]`,
  admin = `admin: "127.0.0.1:0"`,
  logged?: string[],
): Promise<RunningSallyport> {
  const directory = temporaryDirectory("sallyport-test-");
  const file = join(directory, "sallyport.yaml");
  const level = logged === undefined ? "silent" : "debug";
  const write = (text: string): boolean => (logged?.push(text), true);
  const stream = { isTTY: false, write, close: async () => {} };
  const whole = (text: string): string => `listen: ${listen}\n${admin}\nlog: { level: ${level} }\n${text}`;
  await writeFile(file, whole(yaml));
  const requirements = { file: join(directory, "requirements.yaml"), owner: process.getuid?.() ?? 0 };
  const sallyport = await startSallyport({ cwd: directory, env: process.env, requirements, stream });
  const port = sallyport.listen[0]?.port ?? 0;
  const adminPort = sallyport.admin?.port ?? 0;
  const trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
  const audit = join(directory, "data", "audit");

  return {
    directory,
    port,
    adminPort,
    url: `http://127.0.0.1:${port}`,
    trustAnchor,
    sallyport,
    ...followAudit(audit),
    async reconfigure(text) {
      // In one step: the watch must not find it half written.
      await writeFile(`${file}.new`, whole(text));
      await rename(`${file}.new`, file);
      return (await sallyport.reload("signal")).ok;
    },
    async require(text) {
      await writeFile(`${requirements.file}.new`, text);
      await rename(`${requirements.file}.new`, requirements.file);
      return (await sallyport.reload("signal")).diagnostics.map(formatDiagnostic);
    },
    async metrics() {
      const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`);
      return response.text();
    },
    async [Symbol.asyncDispose]() {
      await sallyport.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
