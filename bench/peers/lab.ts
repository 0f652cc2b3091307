// What every round of the benchmark shares: a directory, a CA, the origin and the names that lead to it, the programs in Go.

import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { createNameServer } from "../../test/support/dns.ts";
import { createCa } from "../../test/support/pki.ts";
import { endAll, start } from "./processes.ts";

export type Ports = { readonly secured: number; readonly plain: number; readonly both: number };

export type Lab = {
  readonly directory: string;
  /** Files: the CA of the origin, and of the proxies that take one; its key. */
  readonly ca: { readonly cert: string; readonly key: string; readonly pem: string };
  /** The origin's certificate and key in one file, for a proxy that ends TLS in its name. */
  readonly identity: string;
  /** TLS with HTTP/1.1, plain, and TLS with HTTP/2 too. */
  readonly origin: Ports;
  /** Hosts of the origin that nobody asked for yet: c0, c1 and so on below origin.test. Squid reads them from a file. */
  readonly coldHosts: readonly string[];
  /** Knows them. */
  readonly nameServer: string;
  /** Arguments for the Node that runs Sallyport. */
  readonly node: readonly string[];
  /** Path of a program of bench/peers/go. */
  program(name: string): string;
  close(): Promise<void>;
};

/** Where bench/peers/setup.sh puts what npm brings, and where the programs in Go go. */
export const CACHE = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "sallyport-bench");

/** Where Debian puts Go's libraries. */
export const GO_LIBRARIES = "/usr/share/gocode";

const COLD_HOSTS = 40_000;

export function has(program: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}

export type LabOptions = {
  /** Cold hosts, c0, c1 and so on below origin.test. */
  readonly hosts?: number;
  /** Arguments for the Node that runs Sallyport. */
  readonly node?: readonly string[];
};

export async function openLab({ hosts = COLD_HOSTS, node = [] }: LabOptions = {}): Promise<Lab> {
  if (!has("go")) {
    console.log(
      "skipped: load and origin are written in Go, which is missing (bench/peers/setup.sh installs it)",
    );
    process.exit(0);
  }
  const built = new Map<string, string>();
  const program = (name: string): string => {
    const path = built.get(name) ?? build(name);
    built.set(name, path);
    return path;
  };
  const directory = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
  await chmod(directory, 0o755); // squid gives up root, and must read in it
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text);
    return join(directory, name);
  };
  const ca = createCa({ commonName: "Sallyport benchmark CA" });
  const leaf = ca.issue({ names: ["origin.test", "*.origin.test"] });
  const cert = await file("ca.pem", ca.cert);
  const key = await file("ca.key", ca.key);
  const identity = await file("origin.pem", leaf.chain + leaf.key);
  const origin = start([program("origin"), identity, identity], { core: 1 });
  if (origin.stdout === null) throw new Error("the origin has no output");
  const [line] = (await once(origin.stdout, "data")) as [Buffer];
  const [secured = 0, plain = 0, both = 0] = JSON.parse(String(line)) as number[];
  const coldHosts = Array.from({ length: hosts }, (_, index) => `c${index}.origin.test`);
  const here = { a: ["127.0.0.1"] };
  const names = await createNameServer(Object.fromEntries(coldHosts.map((host) => [host, here])));
  const close = async (): Promise<void> => {
    await names[Symbol.asyncDispose]();
    await endAll();
    await rm(directory, { recursive: true, force: true });
  };
  process.once("SIGINT", () => void close().finally(() => process.exit(130)));
  return {
    directory,
    ca: { cert, key, pem: ca.cert },
    identity,
    coldHosts,
    nameServer: names.address,
    node,
    origin: { secured, plain, both },
    program,
    close,
  };
}

/** Builds a program of bench/peers/go, with Debian's Go libraries and without a network. */
function build(name: string): string {
  const path = join(CACHE, "bin", name);
  // Debian has martian under the name that it had before its third version; it imports itself by the new one.
  const renamed = join(CACHE, "go", "src", "github.com", "google", "martian");
  mkdirSync(renamed, { recursive: true });
  rmSync(join(renamed, "v3"), { force: true });
  symlinkSync(join(GO_LIBRARIES, "src/github.com/google/martian"), join(renamed, "v3"));
  execFileSync("go", ["build", "-o", path, `./${name}`], {
    cwd: join(import.meta.dirname, "go"),
    env: { ...process.env, GO111MODULE: "off", GOPATH: `${join(CACHE, "go")}:${GO_LIBRARIES}`, GOFLAGS: "" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  return path;
}
