// deploy/compose.yaml, brought up by a real Compose over a real engine, with origins at this machine's address on the outer network;
// and somebody who takes whatever comes, at addresses that stand for the rest of the world, in a container, so that no packet
// leaves this machine: by it a probe is known to arrive where nothing holds it back.

import { execFileSync, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";
import { allowRule, npmRegistry } from "../../clients/machine.ts";
import type { AuditRecord } from "../../support/audit-records.ts";
import { type Engine, type Ran, startEngine } from "../../support/containers.ts";
import { createCa } from "../../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../../support/recording-origin.ts";

/** This machine, on the outer network and on the sandboxes'. */
export const OUTSIDE = "10.213.8.1";
export const HOST = "10.213.7.1";
export const PROXY = "10.213.7.2";
/** Of documentation's networks (RFC 5737, RFC 3849), which are nobody's; and the metadata address. */
export const WORLD = { v4: "198.51.100.7", v6: "2001:db8:213::7", metadata: "169.254.169.254" };

export type Place = AsyncDisposable & {
  readonly engine: Engine;
  /** The copy of deploy/ that is up. */
  readonly deploy: string;
  readonly origin: RecordingOrigin;
  readonly attacker: RecordingOrigin;
  /** The port of a service of the machine's, at all of its addresses, by TCP and UDP. */
  readonly hostPort: number;
  compose(...args: readonly string[]): Promise<Ran>;
  /** `sallyport ARGS` in the proxy's container. */
  cli(...args: readonly string[]): Promise<string>;
  /** A line of shell in a running container. */
  shell(container: string, line: string): Promise<Ran>;
  /** A container of the service `sandbox`; its address. */
  sandbox(name: string, options: readonly string[], command: readonly string[]): Promise<string>;
  /** What arrived so far at services that no sandbox may reach: `world udp 443`, `host tcp`. */
  arrived(): Promise<string[]>;
  records(): Promise<AuditRecord[]>;
  closeHost(): void;
  openHost(): void;
};

export async function openPlace(): Promise<Place> {
  const engine = await startEngine();
  const open: AsyncDisposable[] = [engine];
  const close = async (): Promise<void> => {
    for (const each of open.toReversed()) await each[Symbol.asyncDispose]();
  };
  try {
    await engine.sallyport();
    const deploy = join(engine.directory, "deploy");
    cpSync(join(REPOSITORY, "deploy"), deploy, { recursive: true });
    const rules = join(deploy, "compose/host.nft");
    const closeHost = (): void => void execFileSync("nft", ["-f", rules]);
    const openHost = (): void =>
      void execFileSync("nft", ["-f", "-"], {
        input: TABLES.map((table) => `delete table ${table}\n`).join(""),
      });
    closeHost();
    open.push({ [Symbol.asyncDispose]: async () => openHost() }, await engineApi(engine));

    const ca = createCa();
    writeFileSync(join(deploy, "compose/trust.pem"), ca.cert);
    await configure(join(deploy, "compose/sallyport.yaml"));
    const compose = composeIn(deploy, engine);
    // Each by itself: without systemd Podman looks after nobody's health but when it is told.
    for (const service of ["sallyport", "files"]) {
      const up = await compose("up", "--detach", service);
      if (up.code !== 0) throw new Error(up.stderr);
      await engine.healthy(`sallyport_${service}_1`);
      if (service === "sallyport") nameBridgeNoMore(deploy);
    }

    const certificate = ca.issue({ names: ["packages.test", "model.test", "attacker.example"] });
    const origin = await recordingOrigin(certificate, { address: OUTSIDE });
    const attacker = await recordingOrigin(certificate, { address: OUTSIDE });
    const host = await recordingOrigin(undefined, { address: "::" });
    open.push(origin, attacker, host);
    const datagrams: string[] = [];
    const socket = createSocket("udp6", () => datagrams.push("host udp"));
    socket.bind(host.port);
    await once(socket, "listening");
    open.push({ [Symbol.asyncDispose]: async () => void socket.close() });
    await world(engine);

    const cli: Place["cli"] = (...args) => engine.podman(["exec", "sallyport_sallyport_1", ...CLI, ...args]);
    const said = async (container: string): Promise<string[]> =>
      (await engine.run(["logs", container])).stdout
        .split("\n")
        .filter((line) => line !== "" && line !== "ready")
        .map((line) => `${container} ${line}`);
    return {
      engine,
      deploy,
      origin,
      attacker,
      hostPort: host.port,
      compose,
      cli,
      shell: (container, line) => engine.run(["exec", container, "sh", "-c", line]),
      sandbox: async (name, options, command) => {
        const ran = await compose("run", "--detach", "--name", name, ...options, "sandbox", ...command);
        if (ran.code !== 0) throw new Error(ran.stderr);
        const address = "{{.NetworkSettings.Networks.sallyport_sandboxes.IPAddress}}";
        return engine.podman(["inspect", "--format", address, name]);
      },
      arrived: async () => [
        ...(await said("world")),
        ...(await said("other")),
        ...Array.from({ length: host.connections }, () => "host tcp"),
        ...datagrams,
        ...Array.from({ length: attacker.connections }, () => "attacker"),
      ],
      records: async () =>
        (await cli("audit", "tail", "--all", "--json"))
          .split("\n")
          .map((line) => JSON.parse(line) as AuditRecord),
      closeHost,
      openHost,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The operator's file, with origins of ours, and the registry that this machine's npm is set up for. */
async function configure(file: string): Promise<void> {
  const config = parse(readFileSync(file, "utf8"));
  const registry = npmRegistry();
  const networks = [`${OUTSIDE}/32`];
  const addresses = await lookup(registry.hostname, { all: true });
  config.upstream = {
    trust: ["system", "bundled", "/etc/sallyport/trust.pem"],
    hosts: {
      [registry.hostname]: addresses.map(({ address }) => address),
      "packages.test": [OUTSIDE],
      "model.test": [OUTSIDE],
      "attacker.example": [OUTSIDE],
      ...INWARD,
    },
  };
  config.policies.default.allow = [
    { host: "packages.test", networks },
    ...parse(await allowRule([registry])),
    ...Object.keys(INWARD).map((name) => ({ host: name, ports: [9128] })),
  ];
  config.policies.agent.allow = [
    { host: "packages.test", networks },
    { host: "model.test", networks, methods: ["POST"] },
  ];
  writeFileSync(file, stringify(config));
}

function composeIn(deploy: string, engine: Engine): Place["compose"] {
  const given = parse(readFileSync(join(deploy, "compose.yaml"), "utf8"));
  const volumes = [
    "./compose/trust.pem:/etc/sallyport/trust.pem:ro",
    "/etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro",
  ];
  const networks = {
    outside: { ipam: { config: [{ subnet: "10.213.8.0/24" }], ...PODMANS } },
    sandboxes: { ...given.networks.sandboxes, ipam: { ...given.networks.sandboxes.ipam, ...PODMANS } },
  };
  writeFileSync(
    join(deploy, "override.yaml"),
    stringify({
      services: {
        sallyport: { volumes },
        files: { volumes },
        sandbox: { sysctls: PING, stop_grace_period: "0s" },
      },
      networks,
    }),
  );
  const files = ["compose.yaml", "override.yaml"].flatMap((name) => ["-f", join(deploy, name)]);
  const env = {
    ...engine.variables,
    DOCKER_HOST: `unix://${engine.directory}/podman.sock`,
    SALLYPORT_IMAGE: "localhost/sallyport",
    SANDBOX_IMAGE: "localhost/sandbox",
  };
  return (...args) =>
    new Promise((resolve) => {
      const child = spawn("docker-compose", ["-p", "sallyport", ...files, ...args], {
        env,
        stdio: ["ignore", "pipe", "pipe"],
      });
      const out = { stdout: "", stderr: "" };
      for (const stream of ["stdout", "stderr"] as const)
        child[stream].setEncoding("utf8").on("data", (text: string) => (out[stream] += text));
      child.once("close", (code) => resolve({ code, ...out }));
    });
}

/** Podman does not say a bridge's name again, which this Compose takes for a change. */
function nameBridgeNoMore(deploy: string): void {
  for (const name of ["compose.yaml", "override.yaml"]) {
    const file = parse(readFileSync(join(deploy, name), "utf8"));
    delete file.networks.sandboxes.driver_opts;
    writeFileSync(join(deploy, name), stringify(file));
  }
}

/** The rest of the world, and a container of the outer network that is held back by nothing: `free`. */
async function world(engine: Engine): Promise<void> {
  const at = "10.213.8.7";
  const run = async (
    name: string,
    options: readonly string[],
    command: readonly string[],
  ): Promise<string> => {
    const mounts = ["--volume", `${EVERYWHERE}:/everywhere.py:ro`];
    await engine.podman([
      "run",
      "--detach",
      "--name",
      name,
      ...mounts,
      ...options,
      "localhost/sandbox",
      ...command,
    ]);
    return engine.podman(["inspect", "--format", "{{.State.Pid}}", name]);
  };
  const ip = (pid: string, line: string): void =>
    void execFileSync("nsenter", ["--target", pid, "--net", "ip", ...line.split(" ")]);
  const services = ["tcp:80", "tcp:443", "udp:53", "udp:443", "udp:9", "icmp"];
  const outer = ["--network", `sallyport_outside:ip=${at}`, "--cap-add", "NET_RAW"];
  const listener = await run("world", outer, ["python3", "/everywhere.py", ...services]);
  for (const address of [`${WORLD.v4}/32`, `${WORLD.metadata}/32`, `${WORLD.v6}/64`])
    ip(listener, `addr add ${address} dev eth0${address.includes(":") ? " nodad" : ""}`);
  const ping = Object.entries(PING).flatMap(([name, value]) => ["--sysctl", `${name}=${value}`]);
  const hardened = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", ...ping];
  const free = await run("free", ["--network", "sallyport_outside", ...hardened], ["sleep", "infinity"]);
  ip(free, `-6 addr add ${WORLD.v6.replace(/7$/, "8")}/64 dev eth0 nodad`);
  for (const address of [WORLD.v4, WORLD.metadata]) ip(free, `route add ${address} via ${at}`);
}

/** For Compose. */
async function engineApi(engine: Engine): Promise<AsyncDisposable> {
  const socket = join(engine.directory, "podman.sock");
  const service = spawn("podman", ["system", "service", "--time", "0", `unix://${socket}`], {
    env: engine.variables,
    stdio: "ignore",
  });
  const ended = once(service, "exit");
  for (let tries = 0; tries < 200 && !existsSync(socket); tries++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  return {
    async [Symbol.asyncDispose]() {
      service.kill();
      await ended;
    },
  };
}

export const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
export const EVERYWHERE = fileURLToPath(new URL("../../support/everywhere.py", import.meta.url));
const CLI = ["/usr/local/bin/node", "/opt/sallyport/dist/cli/main.js"];
/** Names that are allowed, and lead where no name may. */
const INWARD = {
  "own.test": ["127.0.0.1"],
  "private.test": [HOST],
  "metadata.test": [WORLD.metadata],
};
const TABLES = ["inet sallyport_sandboxes", "bridge sallyport_sandboxes"];
/** As Docker has it by itself. */
const PING = { "net.ipv4.ping_group_range": "0 2147483647" };
/** Podman says it of every network, and this Compose takes what the file does not say for a change. */
const PODMANS = { options: { driver: "host-local" } };
