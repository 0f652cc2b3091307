// curl through every door of the one port: SOCKS5 with and without credentials, TLS to the proxy with and without a client
// certificate, and a raw tunnel to an origin that speaks first.

import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { exchanges, settled } from "../support/audit-records.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { describeWith } from "./sandbox.ts";

describeWith("curl, by every door", ["curl"], () => {
  let origin: RecordingOrigin;
  let plain: RecordingOrigin;
  let ssh: RecordingOrigin;
  let proxy: RunningSallyport;
  let clients: Issued;
  const files: Record<string, string> = {};

  beforeAll(async () => {
    const ca = createCa();
    clients = createCa();
    origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
    plain = await recordingOrigin();
    ssh = await recordingOrigin();
    ssh.behave((socket) => void socket.end("SSH-2.0-origin\r\n"));
    proxy = await runSallyport("anonymous: default\n");
    const client = clients.issue({ names: ["ci.sandboxes.test"], usage: "clientAuth" });
    const write = async (name: string, text: string): Promise<void> => {
      files[name] = join(proxy.directory, name);
      await writeFile(files[name], text);
    };
    await write("roots.pem", ca.cert);
    await write("clients.pem", clients.cert);
    await write("client.pem", client.chain);
    await write("client.key", client.key);
    await write("anchor.pem", proxy.trustAnchor);
    const ok = await proxy.reconfigure(`
upstream: { trust: [roots.pem], hosts: { origin.test: [127.0.0.1], plain.test: [127.0.0.1], ssh.test: [127.0.0.1] } }
tls: { names: [localhost], client_ca: clients.pem }
sandboxes: [{ id: ci, secret: "correct horse: battery", policy: default, certificate: "DNS:ci.sandboxes.test" }]
policies:
  default:
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, { host: plain.test, networks: [127.0.0.0/8] }]
    tcp: [{ host: ssh.test, ports: [${ssh.port}], networks: [127.0.0.0/8] }]
`);
    expect(ok).toBe(true);
  });

  afterAll(async () => {
    for (const one of [proxy, origin, plain, ssh]) await one[Symbol.asyncDispose]();
  });

  const curl = (...args: string[]): Promise<string> =>
    new Promise((resolve) => {
      const all = [
        "-sSN",
        "-m",
        "20",
        "--cacert",
        files["anchor.pem"]!,
        "--proxy-cacert",
        files["anchor.pem"]!,
        ...args,
      ];
      const env = { PATH: process.env["PATH"] ?? "" };
      const child = execFile("curl", all, { env }, (_error, stdout, stderr) => resolve(stdout + stderr));
      // Raw TCP it leaves when it has no more to say, and not when the other end is gone.
      child.stdout?.once("data", () => child.stdin?.end());
    });
  const socks = (): string => `127.0.0.1:${proxy.port}`;
  const secure = (): string[] => ["-x", `https://localhost:${proxy.port}`];
  const user = ["--proxy-user", "ci:correct horse: battery"];
  const certificate = (): string[] => [
    "--proxy-cert",
    files["client.pem"]!,
    "--proxy-key",
    files["client.key"]!,
  ];
  const urls = (): string[] => [`https://origin.test:${origin.port}/`, `http://plain.test:${plain.port}/`];

  test("SOCKS5 with names, for https:// and http://", async () => {
    for (const url of urls()) expect(await curl("--socks5-hostname", socks(), ...user, url)).toBe("ok\n");
  });

  test("SOCKS5 without credentials, or with wrong ones", async () => {
    expect(await curl("--socks5-hostname", socks(), ...urls())).toMatch(/No authentication method|97/i);
    expect(await curl("--socks5-hostname", socks(), "--proxy-user", "ci:wrong", urls()[0]!)).toMatch(
      /rejected/i,
    );
  });

  test("SOCKS5 to what is not allowed", async () => {
    expect(await curl("--socks5-hostname", socks(), ...user, "https://other.test/")).toMatch(
      /SOCKS5.*\(2\)/i,
    );
  });

  test("SOCKS5 with an address of its own resolving: the name in TLS is not what SOCKS was asked for", async () => {
    const resolve = `origin.test:${origin.port}:127.0.0.1`;
    expect(await curl("--socks5", socks(), ...user, "--resolve", resolve, urls()[0]!)).toMatch(
      /SOCKS5.*\(2\)/i,
    );
  });

  test("TLS to the proxy, with credentials", async () => {
    for (const url of urls()) expect(await curl(...secure(), ...user, url)).toBe("ok\n");
  });

  test("TLS to the proxy, with a client certificate", async () => {
    for (const url of urls()) expect(await curl(...secure(), ...certificate(), url)).toBe("ok\n");
    const records = await proxy.recorded(settled);
    expect(exchanges(records).at(-1)?.decision).toMatchObject({ sandbox: "ci", host: "plain.test" });
  });

  test("TLS to the proxy, without either", async () => {
    expect(await curl(...secure(), urls()[0]!)).toMatch(/response 407/);
  });

  test("a refusal inside, by every door", async () => {
    for (const way of [
      ["--socks5-hostname", socks(), ...user],
      [...secure(), ...certificate()],
    ])
      for (const url of urls())
        expect(await curl(...way, "-d", "x", url)).toContain("reason:  method-not-allowed");
  });

  test("a raw tunnel, the origin first", async () => {
    for (const way of [
      ["-p", "-x", `http://127.0.0.1:${proxy.port}`, ...user],
      ["-p", ...secure(), ...certificate()],
      ["--socks5-hostname", socks(), ...user],
    ])
      expect(await curl(...way, `telnet://ssh.test:${ssh.port}`)).toContain("SSH-2.0-origin");
  });
});
