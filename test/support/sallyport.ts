// A whole Sallyport on loopback, in this process, from a configuration file in a directory of its own.

import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startSallyport, type Sallyport } from "../../src/assemble.ts";

export type RunningSallyport = AsyncDisposable & {
  readonly directory: string;
  readonly port: number;
  readonly adminPort: number;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The trust anchor that sandboxes are to trust, PEM. */
  readonly trustAnchor: string;
  readonly sallyport: Sallyport;
  /** All audit records so far, oldest first, as parsed lines; exchanges and notes alike. */
  records(): Promise<AuditRecord[]>;
  /** Resolves with the records once `enough` holds of them; polls the log, which is written behind the answer. */
  recorded(enough: (records: AuditRecord[]) => boolean): Promise<AuditRecord[]>;
  /** Replaces sallyport.yaml and reloads. */
  reconfigure(yaml: string): Promise<boolean>;
  metrics(): Promise<string>;
};

export type AuditRecord = { readonly type: string; readonly [field: string]: unknown };

/** `yaml`: sallyport.yaml less `listen`, `admin` and `log`, which this adds. */
export async function runSallyport(yaml: string): Promise<RunningSallyport> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-test-"));
  const file = join(directory, "sallyport.yaml");
  const whole = (text: string): string =>
    `listen: ["127.0.0.1:0"]\nadmin: "127.0.0.1:0"\nlog: { level: silent }\n${text}`;
  await writeFile(file, whole(yaml));
  const sallyport = await startSallyport({ cwd: directory, env: process.env, stream: nowhere });
  const port = sallyport.listen[0]?.port ?? 0;
  const adminPort = sallyport.admin?.port ?? 0;
  const trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
  const audit = join(directory, "data", "audit");

  const records = async (): Promise<AuditRecord[]> => {
    const names = (await readdir(audit)).filter((name) => name.endsWith(".jsonl")).toSorted();
    const texts = await Promise.all(names.map((name) => readFile(join(audit, name), "utf8")));
    return texts.flatMap((text) =>
      text
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as AuditRecord),
    );
  };
  return {
    directory,
    port,
    adminPort,
    url: `http://127.0.0.1:${port}`,
    trustAnchor,
    sallyport,
    records,
    async recorded(enough) {
      for (let tries = 0; tries < 500; tries++) {
        const all = await records();
        if (enough(all)) return all;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error(`not recorded: ${JSON.stringify(await records(), undefined, 1)}`);
    },
    async reconfigure(text) {
      await writeFile(file, whole(text));
      return (await sallyport.reload("signal")).ok;
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

const nowhere = { isTTY: false, write: () => true, close: async () => {} };
