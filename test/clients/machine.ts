// Which package registries this machine is set up for, read from its own clients at run time and named nowhere else.

import { execFileSync } from "node:child_process";
import { lookup } from "node:dns/promises";

/** Where npm installs from. */
export function npmRegistry(): URL {
  return new URL(run("npm", ["config", "get", "registry"]));
}

/** Where npm installs from where nobody has set it up: everybody's, so that it says nothing about a machine. */
export function npmDefaultRegistry(): URL {
  const env = { PATH: process.env["PATH"], HOME: "/nonexistent", npm_config_globalconfig: "/dev/null" };
  return new URL(run("npm", ["config", "get", "registry"], { cwd: "/", env }));
}

/** Where apt-get updates from. */
export function aptSites(): URL[] {
  const sites = run("apt-get", ["indextargets", "--format", "$(SITE)"]).split("\n");
  return [...new Set(sites)].map((site) => new URL(site));
}

/** A rule that allows them all, wherever this machine's name server says that they are. */
export async function allowRule(sites: readonly URL[]): Promise<string> {
  const hosts = [...new Set(sites.map(({ hostname }) => hostname))];
  const rules = hosts.map(async (host) => {
    const addresses = await lookup(host, { all: true });
    const networks = addresses.map(({ address, family }) => `"${address}/${family === 4 ? 32 : 128}"`);
    return `{ host: "${host}", networks: [${networks.join(", ")}] }`;
  });
  return `[${(await Promise.all(rules)).join(", ")}]`;
}

type Settings = { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv };

function run(program: string, args: readonly string[], settings: Settings = {}): string {
  const output = execFileSync(program, args, {
    ...settings,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return output.trim();
}
