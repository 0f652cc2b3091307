// A real corporate proxy as the parent: Squid with basic credentials, in front of which curl is judged as ever.

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { describeWith, openSandbox } from "./sandbox.ts";
import { decisions, completed } from "./suite.ts";

const PASSWORD = "corporate-secret";
// `openssl passwd -apr1 -salt sallyprt corporate-secret`
const HASHED = "$apr1$sallyprt$ul3JFpt1tV9PtP8VY5KYP.";
const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbehind it";

describeWith("squid as the parent", ["squid", "curl", "root"], () => {
  const ca = createCa();
  let directory: string;
  let squid: ChildProcess;
  let port: number;
  let origin: RecordingOrigin;
  let plain: RecordingOrigin;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "sallyport-squid-"));
    await chmod(directory, 0o777);
    origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
    plain = await recordingOrigin();
    for (const one of [origin, plain]) one.behave(answerRequests(() => ANSWER));
    await writeFile(join(directory, "root.pem"), ca.cert);
    await writeFile(join(directory, "passwords"), `agent:${HASHED}\n`);
    port = await freePort();
    await writeFile(join(directory, "squid.conf"), configuration());
    squid = spawn("squid", ["-N", "-f", join(directory, "squid.conf")], { stdio: "ignore" });
    await listening(port);
  }, 60_000);
  afterAll(async () => {
    const gone = once(squid, "exit");
    squid.kill("SIGKILL");
    await gone;
    for (const one of [origin, plain]) await one[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  const configuration = (): string => `
http_port 127.0.0.1:${port}
pid_filename none
cache deny all
cache_log ${directory}/cache.log
access_log stdio:${directory}/access.log
coredump_dir ${directory}
shutdown_lifetime 1 second
auth_param basic program /usr/lib/squid/basic_ncsa_auth ${directory}/passwords
acl known proxy_auth REQUIRED
acl reached port ${origin.port} ${plain.port}
http_access deny CONNECT !reached
http_access allow known
http_access deny all
`;
  const start = (password: string): Promise<RealSallyport> =>
    startRealSallyport(`
upstream:
  trust: ["${directory}/root.pem"]
  hosts: { origin.test: [127.0.0.1] }
  parent: "http://agent:${password}@127.0.0.1:${port}"
anonymous: default
policies: { default: { preset: none, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
`);

  test("curl, intercepted and plain, to the address that was judged", async () => {
    await using proxy = await start(PASSWORD);
    const sandbox = await openSandbox(proxy);
    for (const [scheme, one] of [
      ["https", origin],
      ["http", plain],
    ] as const) {
      const path = `/${scheme}`;
      const ran = await sandbox.run(["curl", "-sS", `${scheme}://origin.test:${one.port}${path}`]);
      expect(ran.stdout, ran.seen).toBe("behind it");
      const [decision] = decisions(await proxy.recorded(completed(path)), path);
      expect(decision).toMatchObject({ addresses: ["127.0.0.1"], parent: `127.0.0.1:${port}` });
    }
    for (const one of [origin, plain]) expect(one.received).not.toMatch(/proxy-authorization/i);
    // It writes a line when a tunnel has ended.
    const access = (): Promise<string> => readFile(join(directory, "access.log"), "utf8");
    const line = new RegExp(`CONNECT 127\\.0\\.0\\.1:${origin.port} agent `);
    await expect.poll(access, { timeout: 20_000 }).toMatch(line);
    expect(JSON.stringify(await proxy.records())).not.toContain(PASSWORD);
  });

  test("what is refused here it never hears of; what it refuses is its fault", async () => {
    await using proxy = await start("wrong");
    const sandbox = await openSandbox(proxy);
    const denied = await sandbox.run(["curl", "-sS", `http://attacker.example:${plain.port}/`]);
    expect(denied.stdout).toContain("host-not-allowed");
    expect(await proxy.records()).not.toContainEqual(expect.objectContaining({ parent: expect.anything() }));
    const failed = await sandbox.run(["curl", "-sS", `https://origin.test:${origin.port}/`]);
    expect(failed.stdout).toContain("parent-auth-failed");
    expect(failed.seen).not.toContain("wrong");
  });

  test("a port that it does not tunnel to", async () => {
    await using proxy = await start(PASSWORD);
    const sandbox = await openSandbox(proxy);
    const ran = await sandbox.run(["curl", "-sS", "http://origin.test:9/"]);
    expect(ran.stdout).toContain("parent-refused");
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const open = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "close").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
