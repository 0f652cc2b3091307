// Peers that npm brings, each started by a script of bench/peers/node, on the Node that runs Sallyport.

import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { CACHE, type Lab } from "../lab.ts";
import { launched, type Peer, type Skill } from "../peer.ts";
import { freePort } from "../processes.ts";

const MODULES = join(CACHE, "npm");
const SCRIPTS = join(import.meta.dirname, "..", "node");

export const mockttp = npmPeer("mockttp", "mockttp", ["intercept"]);
export const httpMitmProxy = npmPeer("http-mitm-proxy", "http-mitm-proxy", ["intercept"]);
export const sandboxRuntime = npmPeer("sandbox-runtime", "@anthropic-ai/sandbox-runtime", [
  "splice",
  "plain",
]);

function npmPeer(name: string, module: string, skills: readonly Skill[]): Peer {
  return {
    name,
    skills,
    missing: () =>
      existsSync(join(MODULES, "node_modules", module))
        ? undefined
        : `${module} is not there (bench/peers/setup.sh installs it)`,
    start: (lab) => startScript(lab, name),
  };
}

async function startScript(lab: Lab, name: string) {
  const port = await freePort();
  const directory = join(lab.directory, `${name}-${port}`);
  await mkdir(join(directory, "certs"), { recursive: true });
  const ca = join(directory, "certs", "ca.pem");
  const own = name === "http-mitm-proxy" ? directory : ca;
  const script = join(SCRIPTS, `${name}.mjs`);
  const names = join(SCRIPTS, "names.mjs");
  const running = await launched(
    [process.execPath, "--import", names, script, MODULES, String(port), own, lab.ca.cert],
    port,
    { env: { NODE_EXTRA_CA_CERTS: lab.ca.cert }, trusted: lab.ca.pem },
  );
  return existsSync(ca) ? { ...running, trusted: await readFile(ca, "utf8") } : running;
}
