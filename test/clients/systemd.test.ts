// deploy/systemd: systemd finds nothing wrong with the unit and little exposed, and the program works behind its walls, which
// hold whoever gets hold of it.

import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, describe, expect, test } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { openTrustAnchor } from "../../src/tls/trust-anchor.ts";
import { readUnit, spawnWalled } from "../support/unit.ts";
import { describeWith } from "./sandbox.ts";

const ROOT = join(import.meta.dirname, "../..");
const SHIPPED = join(ROOT, "deploy/systemd");
const unit = readUnit(join(SHIPPED, "sallyport.service"));

describeWith("systemd", ["systemd-analyze", "unshare", "setpriv", "openssl", "root"], () => {
  const places: string[] = [];
  afterAll(() => places.forEach((place) => rmSync(place, { recursive: true })));

  function place(): string {
    const made = mkdtempSync(join(tmpdir(), "sallyport-systemd-"));
    places.push(made);
    return made;
  }

  test("systemd-analyze has nothing to say, with the drop-in or without", () => {
    const directory = place();
    const file = join(directory, "sallyport.service");
    copyFileSync(join(SHIPPED, "sallyport.service"), file);
    const verify = () => spawnSync("systemd-analyze", ["verify", file], { encoding: "utf8" });
    expect(verify()).toMatchObject({ status: 0, stderr: "" });
    mkdirSync(`${file}.d`);
    copyFileSync(join(SHIPPED, "replica.conf"), join(`${file}.d`, "replica.conf"));
    expect(verify()).toMatchObject({ status: 0, stderr: "" });
    writeFileSync(file, readFileSync(file, "utf8").replace("ProtectClock=yes", "ProtectClok=yes"));
    expect(verify().stderr).toMatch(/ProtectClok/);
  });

  test("its exposure is 1.5 at most", () => {
    const file = join(place(), "sallyport.service");
    copyFileSync(join(SHIPPED, "sallyport.service"), file);
    execFileSync("systemd-analyze", ["security", "--offline=true", "--threshold=15", file], {
      stdio: "pipe",
    });
  });

  test("its configuration holds, and the stop waits for the drain", async () => {
    const directory = place();
    cpSync(join(SHIPPED, "sallyport.yaml"), join(directory, "sallyport.yaml"));
    const loaded = await loadConfig({ cwd: directory, env: {} });
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.diagnostics));
    expect(loaded.warnings).toEqual([]);
    expect(Number(unit.get("TimeoutStopSec")?.[0])).toBeGreaterThan(loaded.config.limits.drainMs / 1000);
    const { certs, audit, store } = loaded.config;
    for (const path of [certs, audit.directory, store.kind === "sqlite" && store.file])
      expect(path).toMatch(/^\/var\/lib\/sallyport\//);
  });

  describe("behind its walls", () => {
    test("it starts with what it is lent, serves, reloads, and ends as asked", async () => {
      const at = place();
      await lend(at);
      const service = start(at, commandOf("/run/config/sallyport.yaml"));
      const { port, adminPort } = await service.listening;
      for (const path of ["/healthz", "/readyz", "/metrics"])
        expect((await fetch(`http://127.0.0.1:${adminPort}${path}`)).status).toBe(200);
      expect(await refusedBy(port)).toMatch(/^HTTP\/1\.1 403 /);
      process.kill(service.pid, "SIGHUP");
      await expect.poll(service.log).toMatch(/"generation":2/);
      process.kill(service.pid, "SIGTERM");
      expect(await service.ended).toBe(0);
      const { uid, mode } = statSync(join(at, "state/audit"));
      expect([uid, mode & 0o077]).toEqual([61184, 0]);
      expect(service.log()).not.toMatch(/"level":(?:4|5|6)0|"level":"(?:warn|error|fatal)"/);
    });

    test.each([
      ["write outside of its state", `fs.writeFileSync("/var/tmp/left", "")`, /EROFS|EACCES/],
      ["write its own program", `fs.writeFileSync("/opt/sallyport/package.json", "")`, /EROFS|EACCES/],
      ["read the administrators' files", `fs.readdirSync("/root")`, /EACCES/],
      [
        "see another process",
        `fs.readdirSync("/proc/" + process.ppid + "/fd"); fs.readdirSync("/proc/1")`,
        /ENOENT|EACCES/,
      ],
      ["read the kernel's settings", `fs.readdirSync("/proc/sys")`, /ENOENT/],
      ["become root", `process.setuid(0)`, /EPERM/],
      ["give a file away", `fs.writeFileSync("x", ""); fs.chownSync("x", 0, 0)`, /EPERM/],
      ["make namespaces", `sh("unshare --user true 2>&1")`, /Operation not permitted/],
      [
        "look into a process",
        `sh("/usr/bin/python3 -c 'import ctypes; l = ctypes.CDLL(None, use_errno=True); r = l.ptrace(16, 1, 0, 0); print(ctypes.get_errno()); exit(r != 0)'")`,
        /'1$/m,
      ],
      [
        "send raw packets",
        `sh("/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'")`,
        /PermissionError/,
      ],
      [
        "talk by a family of its own choice",
        `sh("/usr/bin/python3 -c 'import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)'")`,
        /PermissionError/,
      ],
    ])("who gets hold of it cannot %s", async (_, attempt, told) => {
      const at = place();
      writeFileSync(join(at, "sallyport.yaml"), "");
      const program = `const fs = require("node:fs"); const sh = (of) => require("node:child_process").execSync(of, { stdio: "pipe" });
        try { ${attempt}; console.error("it could") } catch (fault) { console.error(fault.message + (fault.stdout ?? "")) }`;
      const service = start(at, ["node", "-e", program]);
      expect(await service.ended).toBe(0);
      expect(service.log()).toMatch(told);
      expect(service.log()).not.toMatch(/it could/);
    });
  });

  function start(at: string, command: readonly string[]) {
    const child = spawnWalled(
      { unit, root: ROOT, place: at, command },
      { stdio: ["ignore", "ignore", "pipe"], env: { PATH: process.env["PATH"] ?? "" } },
    );
    if (child.stderr === null || child.pid === undefined) throw new Error("it did not start");
    const lines: string[] = [];
    const ended = once(child, "close").then(([code]) => code as number | null);
    const listening = new Promise<{ port: number; adminPort: number }>((resolve, reject) => {
      const ports: Record<string, number> = {};
      createInterface({ input: child.stderr! }).on("line", (line) => {
        lines.push(line);
        const [, port, what = ""] = /"port":(\d+),"msg":"((?:admin )?listening)"/.exec(line) ?? [];
        if (port !== undefined) ports[what] = Number(port);
        const { listening: proxy, "admin listening": admin } = ports;
        if (proxy !== undefined && admin !== undefined) resolve({ port: proxy, adminPort: admin });
      });
      void ended.then((code) => reject(new Error(`it ended with ${code}: ${lines.join("\n")}`)));
    });
    listening.catch(() => {});
    return { pid: child.pid, ended, listening, log: () => lines.join("\n") };
  }
});

/** As ExecStart= has it. */
function commandOf(config: string): string[] {
  const [command = ""] = unit.get("ExecStart") ?? [];
  return command.replace("/etc/sallyport/sallyport.yaml", config).split(" ");
}

/** The shipped file on free ports, with the keys that replica.conf lends. */
async function lend(at: string): Promise<void> {
  const credentials = join(at, "credentials");
  mkdirSync(credentials);
  await openTrustAnchor({ directory: credentials });
  execFileSync("openssl", ["rand", "-out", join(credentials, "tickets.key"), "48"], { stdio: "pipe" });
  const dropIn = readFileSync(join(SHIPPED, "replica.conf"), "utf8");
  const lent = [...dropIn.matchAll(/^LoadCredential=([^:]+):/gm)].map(([, name = ""]) => name);
  for (const name of lent) execFileSync("chmod", ["0400", join(credentials, name)]);
  const told = [...dropIn.matchAll(/^#   ((?:ca|ticket_keys): .*)$/gm)].map(([, line]) => line);
  expect([lent.length, told.length]).toEqual([3, 2]);
  const shipped = readFileSync(join(SHIPPED, "sallyport.yaml"), "utf8");
  const freed = shipped
    .replace(":3128]", ":0]")
    .replace(":9128", ":0")
    .replace(/^certs: .*$/m, told.join("\n"));
  writeFileSync(join(at, "sallyport.yaml"), freed);
}

async function refusedBy(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write("CONNECT attacker.example:443 HTTP/1.1\r\nHost: attacker.example:443\r\n\r\n");
  const [answer] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return answer.toString();
}
