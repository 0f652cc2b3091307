// Where the clients are: a container on a network that leads nowhere but to the proxy, which is the image, and on a network that leads
// out as well. There, at this machine's address, are origins of ours; and the registries that this machine is set up for.

import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gitServer, type GitServer } from "../../clients/git-server.ts";
import { allowRule, aptSites, npmRegistry } from "../../clients/machine.ts";
import { type AuditRecord, auditRecorded } from "../../support/audit-records.ts";
import { startEngine } from "../../support/containers.ts";
import { grpcService, type Service } from "../../support/grpc.ts";
import { createCa } from "../../support/pki.ts";
import { plainEnvironment } from "../../support/real-sallyport.ts";
import { recordingOrigin, type RecordingOrigin } from "../../support/recording-origin.ts";
import { filesOrigin, type FilesOrigin } from "./files-origin.ts";

export type Place = AsyncDisposable & {
  /** The proxy's, on the sandboxes' network: its port is 3128, and what is led there without proxy variables goes to its others. */
  readonly address: string;
  /** This machine's, on the outer network: where the origins are. */
  readonly gateway: string;
  readonly files: FilesOrigin;
  readonly git: GitServer;
  readonly grpc: Service;
  readonly attacker: RecordingOrigin;
  /** In the clients' container, with what `sallyport env` says. */
  readonly shell: Shell;
  /** Another one of the same image, which is told nothing. */
  sandbox(name: string, options: readonly string[]): Promise<Shell>;
  recorded(enough: (records: AuditRecord[]) => boolean): Promise<AuditRecord[]>;
};

/** Runs a line; both of its outputs, as a person sees them. */
type Shell = (line: string) => Promise<{ readonly code: number | null; readonly seen: string }>;

/** `refused`: names that no policy permits, and that would lead to `attacker`. */
export async function openPlace(refused: readonly string[]): Promise<Place> {
  const engine = await startEngine();
  const open: AsyncDisposable[] = [engine];
  const close = async (): Promise<void> => {
    for (const each of open.toReversed()) await each[Symbol.asyncDispose]();
  };
  try {
    await engine.podman(["network", "create", "--disable-dns", "outer"]);
    await engine.podman(["network", "create", "--disable-dns", "--internal", "inside"]);
    const subnetOf = (network: string): Promise<string> =>
      engine.podman(["network", "inspect", "--format", "{{(index .Subnets 0).Subnet}}", network]);
    const gateway = (await subnetOf("outer")).replace(/0\/\d+$/, "1");
    const address = (await subnetOf("inside")).replace(/0\/\d+$/, "2");
    const ca = createCa();
    const certificate = ca.issue({ names: ["origin.test", ...refused] });
    const at = directories(engine.directory);
    writeFileSync(join(at.configuration, "trust.pem"), ca.cert);
    writeFileSync(
      join(at.configuration, "sallyport.yaml"),
      await configuration({ gateway, address, refused }),
    );

    const image = await engine.sallyport();
    const state = `${at.state}:/var/lib/sallyport`;
    const mounts = ["--volume", `${at.configuration}:/etc/sallyport:ro`, "--volume", state, ...SYSTEM_ROOTS];
    const hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    // What has a foot in both networks must not lead from one into the other.
    hardened.push("--sysctl", "net.ipv4.ip_forward=0");
    const networks = ["--network", `inside:ip=${address}`, "--network", "outer"];
    await engine.podman(["run", "--detach", "--name", "proxy", ...networks, ...hardened, ...mounts, image]);
    await engine.healthy("proxy");

    const files = await filesOrigin(at.packages, certificate, gateway);
    open.push(files);
    const git = await gitServer(repository(at.repositories), certificate, gateway);
    open.push(git);
    const grpc = await grpcService(certificate, gateway);
    open.push(grpc);
    const attacker = await recordingOrigin(certificate, { address: gateway });
    open.push(attacker);

    const environment = ["env", "--format", "json", "--proxy", `http://${address}:3128`];
    const out = ["--out", "/var/lib/sallyport/sandbox", "--mount-point", "/etc/sallyport"];
    const printed = await engine.podman(["exec", "proxy", ...CLI, ...environment, ...out]);
    const variables = {
      BASE: "https://origin.test",
      GIT: `https://origin.test:${git.port}`,
      GRPC: `origin.test:${grpc.port}`,
      PORT: String(attacker.port),
      NPM_REGISTRY: npmRegistry().href,
    };
    const set = Object.entries({ ...(JSON.parse(printed) as Record<string, string>), ...variables });
    const given = set.flatMap(([name, value]) => ["--env", `${name}=${value}`]);
    const shared = [`${join(at.state, "sandbox")}:/etc/sallyport:ro`, `${at.packages}:/packages`];
    const sandbox = async (name: string, options: readonly string[]): Promise<Shell> => {
      const programs = ["--volume", `${PROGRAMS}:/programs:ro`, "--volume", `${INSIDE}:/inside:ro`];
      const where = ["--name", name, "--network", "inside", "--workdir", "/root", ...programs];
      await engine.podman([
        "run",
        "--detach",
        ...where,
        ...options,
        "localhost/clients",
        "sleep",
        "infinity",
      ]);
      return async (line) => {
        const ran = await engine.run(["exec", name, "sh", "-c", `exec 2>&1; ${line}`]);
        return { code: ran.code, seen: ran.stdout };
      };
    };
    const shell = await sandbox("clients", [...given, ...shared.flatMap((volume) => ["--volume", volume])]);
    const prepared = await shell(
      "ln -s /opt/clients/node_modules /node_modules && sh /inside/packages.sh /packages $BASE",
    );
    if (prepared.code !== 0) throw new Error(prepared.seen);
    return {
      address,
      gateway,
      files,
      git,
      grpc,
      attacker,
      shell,
      sandbox,
      recorded: (enough) => auditRecorded(join(at.state, "audit"), enough),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function directories(top: string): Record<"configuration" | "state" | "packages" | "repositories", string> {
  const at = (name: string): string => {
    mkdirSync(join(top, name));
    return join(top, name);
  };
  const made = {
    configuration: at("configuration"),
    state: at("state"),
    packages: at("packages"),
    repositories: at("repositories"),
  };
  mkdirSync(join(made.configuration, "presets"));
  // The image's own user.
  chownSync(made.state, 65532, 65532);
  return made;
}

/** `shop.git` in it, which takes pushes. */
function repository(root: string): string {
  const git = (...args: string[]): void => {
    const identity = ["-c", "user.name=A", "-c", "user.email=a@origin.test"];
    execFileSync("git", [...identity, ...args], { cwd: root, env: { ...plainEnvironment(), HOME: root } });
  };
  git("init", "-q", "-b", "main", "work");
  git("-C", "work", "commit", "-q", "--allow-empty", "-m", "one");
  git("clone", "-q", "--bare", "work", "shop.git");
  git("-C", "shop.git", "config", "http.receivepack", "true");
  return root;
}

async function configuration(where: {
  gateway: string;
  address: string;
  refused: readonly string[];
}): Promise<string> {
  const { gateway, address, refused } = where;
  const sites = [npmRegistry(), ...aptSites()];
  const names = [...new Set(sites.map(({ hostname }) => hostname))];
  const found = await Promise.all(
    names.map(async (name) => {
      const addresses = await lookup(name, { all: true });
      return `"${name}": [${addresses.map(({ address }) => `"${address}"`).join(", ")}]`;
    }),
  );
  const ours = ["origin.test", ...refused].map((name) => `"${name}": ["${gateway}"]`);
  const networks = `host: origin.test, networks: ["${gateway}/32"]`;
  const calls = ["Unary", "Collect", "Echo"].map((method) => `/shop.Orders/${method}`);
  return `
listen: ["0.0.0.0:3128"]
admin: { listen: "127.0.0.1:9128", socket: /var/lib/sallyport/admin.sock }
certs: /var/lib/sallyport/certs
audit: { directory: /var/lib/sallyport/audit }
store: /var/lib/sallyport/sallyport.db
upstream:
  trust: [bundled, /etc/sallyport/trust.pem, /etc/ssl/certs/ca-certificates.crt]
  hosts: { ${[...found, ...ours].join(", ")} }
transparent:
  - { listen: "${address}:8443", port: 443 }
  - { listen: "${address}:8080", port: 80 }
dns: { listen: "${address}:5353", answer: ["${address}"] }
anonymous: default
policies:
  default:
    preset: none
    methods: read-only
    intents: [git-fetch]
    allow:
      - { ${networks} }
      - { ${networks}, methods: [POST], paths: [${calls.join(", ")}] }
      - { ${networks}, methods: all, paths: [/sockets/*] }
${(await allowRule(sites)).slice(1, -1).replaceAll(/(?:^|, )(?=\{)/g, "\n      - ")}
`;
}

const CLI = ["/usr/local/bin/node", "/opt/sallyport/dist/cli/main.js"];
const PROGRAMS = fileURLToPath(new URL("../../clients/programs", import.meta.url));
const INSIDE = fileURLToPath(new URL("inside", import.meta.url));
/** What this machine trusts, registries of its own among it. */
const SYSTEM_ROOTS = ["--volume", "/etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro"];
