// A sandbox as a network namespace of its own: one interface, a link to this machine, and no word of a proxy. Everything of
// it goes away again, also where it was only half made.

import { execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { plainEnvironment } from "../support/real-sallyport.ts";
import type { Ran, RunOptions } from "./sandbox.ts";

export type Namespace = AsyncDisposable & {
  readonly name: string;
  /** Of the link, on this machine's side. */
  readonly device: string;
  /** This machine, as the namespace reaches it. */
  readonly gateway: string;
  /** Everything that its programs are told. */
  readonly variables: Readonly<Record<string, string>>;
  run(command: readonly string[], options?: RunOptions): Promise<Ran>;
};

/** `routed`: everything leads to this machine; else there is no route but the link's. */
export async function openNamespace(options: {
  readonly home: string;
  readonly routed: boolean;
  readonly variables: Readonly<Record<string, string>>;
}): Promise<Namespace> {
  const number = randomInt(1 << 16);
  const name = `sallyport-test-${process.pid}-${number}`;
  const device = `spt${number}`;
  const prefix = `10.${randomInt(200, 250)}.${number >> 8}.${number & 0xfc}`.split(".").map(Number);
  const [gateway, inside] = [1, 2].map((at) => [...prefix.slice(0, 3), (prefix[3] ?? 0) + at].join("."));
  if (gateway === undefined || inside === undefined) throw new Error("no addresses");
  const etc = join("/etc/netns", name);
  const dispose = async (): Promise<void> => {
    for (const command of [
      ["netns", "del", name],
      ["link", "del", device],
    ])
      tryIp(command);
    await rm(etc, { recursive: true, force: true });
  };
  try {
    ip(["netns", "add", name]);
    ip(["link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", name]);
    ip(["addr", "add", `${gateway}/30`, "dev", device]);
    ip(["link", "set", device, "up"]);
    ip(["-n", name, "addr", "add", `${inside}/30`, "dev", "eth0"]);
    for (const each of ["lo", "eth0"]) ip(["-n", name, "link", "set", each, "up"]);
    if (options.routed) ip(["-n", name, "route", "add", "default", "via", gateway]);
    await mkdir(etc, { recursive: true });
    // Where nobody listens there, the kernel does not say so each time.
    const patience = "options timeout:1 attempts:1";
    await writeFile(join(etc, "resolv.conf"), `nameserver ${gateway}\n${patience}\n`);
    await writeFile(join(etc, "hosts"), "127.0.0.1 localhost\n");
    await writeFile(join(etc, "nsswitch.conf"), "hosts: files dns\n");
  } catch (error) {
    await dispose();
    throw error;
  }
  const variables = { ...plainEnvironment(), ...options.variables, HOME: options.home };
  return {
    name,
    device,
    gateway,
    variables,
    run: (command, { cwd = options.home, stdin = "", variables: more = {} } = {}) =>
      new Promise((resolve, reject) => {
        const args = ["netns", "exec", name, ...command];
        const child = spawn("ip", args, { cwd, env: { ...variables, ...more }, timeout: LIMIT_MS });
        const out = { stdout: "", stderr: "", seen: "" };
        for (const stream of ["stdout", "stderr"] as const) {
          child[stream].setEncoding("utf8").on("data", (text: string) => {
            out[stream] += text;
            out.seen += text;
          });
        }
        child.once("error", reject);
        child.once("close", (code) => resolve({ code, ...out }));
        child.stdin.on("error", () => {});
        child.stdin.end(stdin);
      }),
    [Symbol.asyncDispose]: dispose,
  };
}

/** A ruleset of this machine's, or with `within` of a namespace's; its tables must be its own. */
export function loadRules(rules: string, within?: string): AsyncDisposable {
  const nft = (input: string): void => {
    const [program = "", ...args] = within === undefined ? ["nft"] : ["ip", "netns", "exec", within, "nft"];
    execFileSync(program, [...args, "-f", "-"], { input, stdio: ["pipe", "ignore", "pipe"] });
  };
  nft(rules);
  const tables = [...rules.matchAll(/^table (\w+ \S+)/gm)].map(([, table]) => table);
  return {
    async [Symbol.asyncDispose]() {
      nft(tables.map((table) => `delete table ${table}\n`).join(""));
    },
  };
}

function ip(args: readonly string[]): void {
  execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
}

function tryIp(args: readonly string[]): void {
  try {
    ip(args);
  } catch {
    // It was never made, or went with the namespace.
  }
}

const LIMIT_MS = 120_000;
