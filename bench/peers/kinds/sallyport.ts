// Sallyport as users run it: the build in dist, one process, policy and audit on, origins verified.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { NODE_FLAGS } from "../../../scripts/node-flags.ts";
import type { Lab } from "../lab.ts";
import { launched, type Peer, type Running } from "../peer.ts";
import { freePort } from "../processes.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const MAIN = join(ROOT, "dist", "cli", "main.js");

/** What is measured is what stands in the sources now. */
export function buildSallyport(): void {
  execFileSync("npm", ["run", "--silent", "build"], { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
}

export const sallyport: Peer = {
  name: "sallyport",
  skills: ["intercept", "bulk", "handshakes", "mint", "splice", "plain", "refuse"],
  missing: () => undefined,
  start: (lab) => startSallyport(lab, {}),
};

export type Setting = {
  /** Lines of YAML at the top level. */
  readonly more?: string;
  /** Keys of `upstream` besides. */
  readonly upstream?: string;
  /** The policy for whoever brings no credentials. */
  readonly anonymous?: string;
  readonly admin?: number;
  /** Of the policy for whoever brings no credentials. */
  readonly preset?: string;
  /** Files beside sallyport.yaml, by their names. */
  readonly files?: Readonly<Record<string, string>>;
  /** Where it may run; the proxy's own core if absent. */
  readonly core?: "any";
};

export async function startSallyport(lab: Lab, setting: Setting): Promise<Running> {
  const port = await freePort();
  const directory = join(lab.directory, `sallyport-${port}`);
  await mkdir(join(directory, "presets"), { recursive: true });
  for (const [name, text] of Object.entries(setting.files ?? {}))
    await writeFile(join(directory, name), text);
  await writeFile(join(directory, "sallyport.yaml"), configuration(lab, port, setting));
  const running = await launched([process.execPath, ...NODE_FLAGS, ...lab.node, MAIN, "run"], port, {
    cwd: directory,
    ...(setting.core === undefined ? {} : { core: setting.core }),
    trusted: "",
  });
  return { ...running, trusted: await readFile(join(directory, "certs", "ca.pem"), "utf8") };
}

/** A rule for the origin under the preset and the methods that a sandbox gets by default. */
function configuration(lab: Lab, port: number, setting: Setting): string {
  return `
listen: ["127.0.0.1:${port}"]
admin: ${setting.admin === undefined ? "false" : `"127.0.0.1:${setting.admin}"`}
log: { level: error }
upstream:
  trust: [system, bundled, ${lab.ca.cert}]
  hosts: { origin.test: [127.0.0.1] }
${setting.upstream ?? ""}
limits: { idle: 10m, connections: 100000, connections_per_source: 100000, mintings: 100000, mintings_burst: 100000 }
anonymous: ${setting.anonymous ?? "default"}
policies:
  default:
    preset: ${setting.preset ?? "common-dependencies"}
    allow:
      - { host: "**.origin.test", networks: [127.0.0.0/8] }
      - { host: origin.test, methods: [PUT], networks: [127.0.0.0/8] }
  spliced:
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
    splice: [origin.test]
${setting.more ?? ""}
`;
}
