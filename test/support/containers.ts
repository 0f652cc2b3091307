// A container engine of a test's own: Debian's podman and buildah with runc, their storage in a directory that goes away with
// everything that ran. Pulls nothing: `localhost/base`, `localhost/clients` and `localhost/sandbox` are what scripts/setup-containers.sh made.

import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, statSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeUnless } from "./needs.ts";
import { findProgram } from "./programs.ts";
import { plainEnvironment } from "./real-sallyport.ts";

export type Ran = {
  /** `null`: ended by a signal. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
};

export type Engine = AsyncDisposable & {
  /** Its own; for files that containers are given, too. */
  readonly directory: string;
  /** What makes any client of an engine use this one. */
  readonly variables: Readonly<Record<string, string>>;
  /** `podman ARGS`, whatever comes of it. */
  run(args: readonly string[], options?: RunOptions): Promise<Ran>;
  /** `podman ARGS`; throws what it said where it fails, and gives what it printed. */
  podman(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Builds `localhost/sallyport` from the Dockerfile. */
  build(): Promise<string>;
  /** `localhost/sallyport`, as the last build of these very sources left it. */
  sallyport(): Promise<string>;
  /** Ends and removes every container, and the volumes that have no name. */
  clear(): Promise<void>;
  /** Waits until a container's own health check passes. */
  healthy(container: string): Promise<void>;
};

export type RunOptions = { readonly stdin?: string; readonly limitMs?: number };

/** A suite of tests that run containers. */
export function describeContainers(title: string, body: () => void): void {
  const missing = ["podman", "buildah", "runc", "docker-compose", "iptables"].filter(
    (program) => findProgram(program) === undefined,
  );
  if (process.getuid?.() !== 0) missing.push("root");
  else if (!mayMount()) missing.push("the right to mount");
  if (!existsSync(join(KEPT, "images"))) missing.push(join(KEPT, "images"));
  const why = `not on this machine: ${missing.join(", ")} (scripts/setup-containers.sh)`;
  describeUnless(title, missing.length === 0 ? undefined : why, body);
}

function mayMount(): boolean {
  try {
    execFileSync("unshare", ["--mount", "--net", "mount", "-t", "tmpfs", "none", "/mnt"], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  }
}

export async function startEngine(): Promise<Engine> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-engine-"));
  const at = (name: string): string => join(directory, name);
  await writeFile(at("containers.conf"), containersConf(directory));
  await writeFile(at("storage.conf"), storageConf(directory));
  const variables = {
    ...plainEnvironment(),
    HOME: directory,
    CONTAINERS_CONF: at("containers.conf"),
    CONTAINERS_STORAGE_CONF: at("storage.conf"),
  };
  const run: Engine["run"] = (args, options) => runProgram("podman", args, { ...options, variables });
  const must = async (program: string, args: readonly string[], options?: RunOptions): Promise<string> => {
    const ran = await runProgram(program, args, { ...options, variables });
    if (ran.code === 0) return ran.stdout.trim();
    throw new Error(`${program} ${args.join(" ")}: ${ran.code}\n${ran.stdout}${ran.stderr}`);
  };
  const podman: Engine["podman"] = (args, options) => must("podman", args, options);

  const build = async (): Promise<string> => {
    const secrets = await buildSecrets(directory);
    const options = ["--format", "docker", "--isolation", "chroot", "--layers=false", "--network", "host"];
    const base = "BASE=localhost/base";
    const args = ["build", ...options, ...secrets, "--build-arg", base, "--tag", SALLYPORT, REPOSITORY];
    await must("buildah", args, { limitMs: BUILD_LIMIT_MS });
    return SALLYPORT;
  };
  const sallyport = async (): Promise<string> => {
    const archive = join(KEPT, `sallyport-${sourcesKey()}.tar`);
    if (existsSync(archive)) {
      await podman(["load", "--quiet", "--input", archive]);
      return SALLYPORT;
    }
    await build();
    await podman(["save", "--quiet", "--output", at("sallyport.tar"), SALLYPORT]);
    for (const old of readdirSync(KEPT).filter((name) => /^sallyport-.*\.tar$/.test(name)))
      await rm(join(KEPT, old), { force: true });
    cpSync(at("sallyport.tar"), `${archive}.${process.pid}`);
    renameSync(`${archive}.${process.pid}`, archive);
    return SALLYPORT;
  };
  const healthy = async (container: string): Promise<void> => {
    for (let tries = 0; tries < 100; tries++) {
      if ((await run(["healthcheck", "run", container])).code === 0) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`${container} is not healthy:\n${(await run(["logs", container])).stderr}`);
  };
  const clear = async (): Promise<void> => {
    // One in whose network another is can only go after it.
    for (let round = 0; round < 3; round++) {
      const gone = await run(["rm", "--all", "--force", "--time", "0", "--volumes"]);
      if (gone.code === 0) return;
    }
    throw new Error(`containers are left:\n${await podman(["ps", "--all"])}`);
  };
  const dispose = async (): Promise<void> => {
    await clear();
    // Networks, volumes and images with it; it fails where it finds nothing.
    await run(["system", "reset", "--force"]);
    for (const mount of await mountsBelow(directory)) execFileSync("umount", ["--lazy", mount]);
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  return {
    directory,
    variables,
    run,
    podman,
    build,
    sallyport,
    clear,
    healthy,
    [Symbol.asyncDispose]: dispose,
  };
}

function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions & { readonly variables: Readonly<Record<string, string>> },
): Promise<Ran> {
  const { stdin = "", limitMs = LIMIT_MS, variables } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: variables, timeout: limitMs });
    const out = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const)
      child[stream].setEncoding("utf8").on("data", (text: string) => (out[stream] += text));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, ...out }));
    child.stdin.on("error", () => {});
    child.stdin.end(stdin);
  });
}

/**
 * Packages come from where this machine's npm has them, and are verified against what it trusts. Both are there while the
 * image is built, and in none of its layers.
 */
async function buildSecrets(directory: string): Promise<string[]> {
  const configured = (key: string): string =>
    execFileSync("npm", ["config", "get", key], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  const userconfig = configured("userconfig");
  const own = existsSync(userconfig) ? await readFile(userconfig, "utf8") : "";
  const anchors = [configured("cafile"), "/etc/ssl/certs/ca-certificates.crt"].find((file) =>
    existsSync(file),
  );
  const npmrc = [own, `registry=${configured("registry")}`, "omit-lockfile-registry-resolved=true"];
  if (anchors !== undefined) npmrc.push("cafile=/run/secrets/ca");
  await writeFile(join(directory, "npmrc"), `${npmrc.join("\n")}\n`, { mode: 0o600 });
  const ca = anchors === undefined ? [] : ["--secret", `id=ca,src=${anchors}`];
  return ["--secret", `id=npmrc,src=${join(directory, "npmrc")}`, ...ca];
}

/** Of everything that the build reads. */
function sourcesKey(): string {
  const hash = createHash("sha256");
  const read = (path: string): void => {
    if (statSync(join(REPOSITORY, path)).isDirectory()) {
      for (const name of readdirSync(join(REPOSITORY, path)).toSorted()) read(join(path, name));
    } else hash.update(`${path}\n`).update(readFileSync(join(REPOSITORY, path)));
  };
  const sent = readFileSync(join(REPOSITORY, ".dockerignore"), "utf8").matchAll(/^!(.+)$/gm);
  for (const path of ["Dockerfile", "scripts/setup-containers.sh", ...[...sent].map(([, path = ""]) => path)])
    read(path);
  return hash.digest("hex").slice(0, 16);
}

async function mountsBelow(directory: string): Promise<string[]> {
  const mounts = (await readFile("/proc/self/mounts", "utf8"))
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "");
  return mounts.filter((mount) => mount.startsWith(`${directory}/`)).toReversed();
}

// Without systemd, and with limits that a container of the machine's own may set.
const containersConf = (directory: string): string => `
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "${directory}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "${directory}/networks"
`;

const storageConf = (directory: string): string => `
[storage]
driver = "overlay"
graphroot = "${directory}/storage"
runroot = "${directory}/run"
[storage.options]
additionalimagestores = ["${KEPT}/images"]
`;

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
/** As scripts/setup-containers.sh has it. */
const KEPT = "/var/cache/sallyport-test";
const SALLYPORT = "localhost/sallyport";
const LIMIT_MS = 120_000;
const BUILD_LIMIT_MS = 280_000;
