// git over SSH to the one host and port that a raw TCP rule names, by CONNECT and by SOCKS5: it works both ways, for what is inside is
// not read; it is metered and recorded; every other host and port of the same machine is refused.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Server } from "node:net";
import { userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exchanges, settled } from "../support/audit-records.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { describeWith, openSandbox, type Ran, type Sandbox } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

const SECRET = "a-secret-of-the-agent";

type SshServer = AsyncDisposable & { readonly port: number; readonly connections: number };

/** Debian's sshd, one for each connection as inetd would start it, for this user and the keys of `directory`. */
async function sshServer(directory: string): Promise<SshServer> {
  // Where sshd, as root, will have its own root while it knows nobody.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  const config = join(directory, "sshd_config");
  await writeFile(
    config,
    `HostKey ${directory}/host\nAuthorizedKeysFile ${directory}/user.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n`,
  );
  let connections = 0;
  const server: Server = createServer({ pauseOnConnect: true }, (socket) => {
    connections++;
    const child = spawn("/usr/sbin/sshd", ["-i", "-f", config], { stdio: [socket, socket, "ignore"] });
    // The child has the connection now.
    child.once("spawn", () => socket.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

describeWith("git over SSH", ["git", "ssh", "sshd", "ssh-keygen", "nc.openbsd", "socat"], () => {
  const open: AsyncDisposable[] = [];
  let directory: string;
  let server: SshServer;
  let proxy: RealSallyport;
  let sandbox: Sandbox;

  beforeAll(async () => {
    const files = await temporary("sallyport-ssh-");
    open.push(files);
    directory = files.path;
    for (const name of ["host", "user"])
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(directory, name)]);
    server = await sshServer(directory);
    open.push(server);
    proxy = await startRealSallyport(`
upstream: { hosts: { git.test: [127.0.0.1], other.test: [127.0.0.1] } }
sandboxes: [{ id: agent, secret: ${SECRET}, policy: default }]
anonymous: default
policies:
  default:
    preset: none
    methods: read-only
    tcp: [{ host: git.test, ports: [${server.port}], networks: [127.0.0.0/8], reason: the team's repositories }]
`);
    open.push(proxy);
    sandbox = await openSandbox(proxy);
    const host = (await readFile(join(directory, "host.pub"), "utf8")).trim();
    await writeFile(join(directory, "known"), `[git.test]:${server.port} ${host}\n`);
    for (const args of [
      ["init", "-q", "--bare", "-b", "main", join(directory, "shop.git")],
      ["init", "-q", "-b", "main", join(sandbox.home, "work")],
    ])
      execFileSync("git", args);
  });
  afterAll(() => disposeAll(open));

  const byConnect = (): string =>
    `socat - PROXY:127.0.0.1:%h:%p,proxyport=${proxy.port},proxyauth=agent:${SECRET}`;
  const bySocks = (): string => `nc.openbsd -X 5 -x 127.0.0.1:${proxy.port} %h %p`;

  function git(through: string, args: readonly string[], cwd = sandbox.home): Promise<Ran> {
    const ssh = [
      `ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -i ${directory}/user`,
      `-o UserKnownHostsFile=${directory}/known -o "ProxyCommand=${through}"`,
    ].join(" ");
    const identity = ["-c", "user.name=A", "-c", "user.email=a@origin.test"];
    return sandbox.run(["git", ...identity, ...args], { cwd, variables: { GIT_SSH_COMMAND: ssh } });
  }
  const url = (host = "git.test", port = server.port): string =>
    `ssh://${userInfo().username}@${host}:${port}${directory}/shop.git`;

  test.each([
    ["CONNECT, with credentials", byConnect, "connect", "agent"],
    ["SOCKS5", bySocks, "socks5", undefined],
  ])("by %s: a push and a clone, each one tunnel on record", async (name, through, way, who) => {
    const before = (await proxy.recorded(settled)).length;
    const work = join(sandbox.home, "work");
    await writeFile(join(work, way), `${name}\n`.repeat(1_000));
    for (const args of [
      ["add", "-A"],
      ["commit", "-q", "-m", name],
      ["push", "-q", url(), "HEAD:main"],
    ]) {
      const ran = await git(through(), args, work);
      expect(ran.code, ran.seen).toBe(0);
    }
    const cloned = await git(through(), ["clone", "-q", url(), `clone-${way}`]);
    expect(cloned.code, cloned.seen).toBe(0);
    expect(await readFile(join(sandbox.home, `clone-${way}`, way), "utf8")).toContain(name);
    const records = await proxy.recorded((all) => all.length > before && settled(all));
    const found = exchanges(records.slice(before));
    expect(found).toHaveLength(2);
    for (const { decision, completion } of found) {
      expect(decision).toMatchObject({
        kind: "connect",
        verdict: "allow",
        host: "git.test",
        port: server.port,
        handling: "tcp",
      });
      expect(decision["sandbox"]).toBe(who);
      expect(completion).toMatchObject({ outcome: "completed" });
      expect(Number(completion?.["bytesUp"])).toBeGreaterThan(1_000);
      expect(Number(completion?.["bytesDown"])).toBeGreaterThan(1_000);
    }
  });

  test.each([
    ["CONNECT", byConnect, /Forbidden \(sallyport: (?:host-not-allowed|address-literal)\)/],
    ["SOCKS5", bySocks, /connection failed|not allowed|kex_exchange|Connection closed/i],
  ])(
    "by %s: another name for the same machine, and another port, get nothing",
    async (_name, through, shown) => {
      const { connections } = server;
      const before = (await proxy.recorded(settled)).length;
      for (const other of [url("other.test"), url("git.test", proxy.adminPort), url("127.0.0.1")]) {
        const ran = await git(through(), ["ls-remote", other]);
        expect(ran.code).not.toBe(0);
        expect(ran.seen).toMatch(shown);
      }
      expect(server.connections).toBe(connections);
      const records = await proxy.recorded((all) => all.length > before && settled(all));
      const found = exchanges(records.slice(before)).map(({ decision }) => decision["reason"]);
      expect(found).toEqual(["host-not-allowed", "host-not-allowed", "address-literal"]);
    },
  );
});
