// `sallyport exec --running`: a command as a sandbox of a proxy that another user runs, and what it may not have of that proxy.

import { execFile } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mayChange } from "../../src/cli/running.ts";
import { whyNoWall } from "../../src/exec/wall.ts";
import { sallyportHere } from "../cli/support.ts";
import { tokenFor } from "../support/api.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");
const why = whyNoWall();
const isRoot = process.getuid?.() === 0;
/** Whose commands these are: root may change everything, and so is refused. */
const USER = isRoot ? { uid: 65534, gid: 65534 } : {};

let origin: RecordingOrigin;
let proxy: RunningSallyport;
let token: string;
let home: string;
/** A file that is not the user's, as the proxy's is to be. */
let file: string;
beforeAll(async () => {
  origin = await recordingOrigin();
  proxy = await runSallyport(`
upstream: { hosts: { one.test: [127.0.0.1] } }
policies: { agent: { preset: none, allow: [{ host: one.test, networks: [127.0.0.0/8] }] } }
`);
  token = await tokenFor(proxy, "runtime");
  home = mkdtempSync(join(tmpdir(), "sallyport-running-"));
  file = isRoot ? join(proxy.directory, "sallyport.yaml") : "/etc/passwd";
  if (isRoot) {
    chmodSync(proxy.directory, 0o755);
    chownSync(home, 65534, 65534);
  }
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

function exec(options: readonly string[], script: string, more: Record<string, string> = {}): Promise<Ran> {
  const api = { SALLYPORT_ADMIN: `http://127.0.0.1:${proxy.adminPort}`, SALLYPORT_TOKEN: token };
  const env = { PATH: process.env["PATH"], HOME: home, ...api, ...more };
  const args = [
    MAIN,
    "exec",
    "--running",
    proxy.url,
    "--policy",
    "agent",
    ...options,
    "--",
    "sh",
    "-c",
    script,
  ];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      args,
      { cwd: home, env, timeout: 60_000, ...USER },
      (error, stdout, stderr) => {
        resolve({
          code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1,
          stdout,
          stderr,
        });
      },
    );
  });
}

const decisions = async () =>
  (await proxy.records())
    .filter(({ type }) => type === "decision")
    .map(({ sandbox, method, host, verdict }) => [sandbox, method, host, verdict]);

describe.skipIf(why !== undefined)(`with a wall${why === undefined ? "" : `: ${why}`}`, () => {
  test("the command is a sandbox of that proxy for as long as it runs", async () => {
    const script = `echo $HTTP_PROXY
      curl -sS -o /dev/null -w '%{http_code}\\n' http://one.test:${origin.port}/in
      curl -sS -o /dev/null -w '%{http_connect}\\n' https://attacker.example/
      curl -sS -o /dev/null -w '%{http_code}\\n' --cacert $SSL_CERT_FILE https://sallyport.internal/; exit 7`;
    const { code, stdout, stderr } = await exec(["--config", file, "--label", "task=42"], script);
    expect(stderr).toMatch(
      /refused to the command \(its records: sallyport audit tail --verdict deny --sandbox sandbox-\S+\):\n {2}CONNECT attacker\.example:443 {2}host-not-allowed\n/,
    );
    const [given = "", ...answers] = stdout.trim().split("\n");
    expect([code, ...answers]).toEqual([7, "200", "403", "200"]);
    const [, id = "", secret = ""] = /^http:\/\/(.+):(.+)@127\.0\.0\.1:3128$/.exec(given) ?? [];
    expect(await decisions()).toEqual([
      [id, "GET", "one.test", "allow"],
      [id, "CONNECT", "attacker.example", "deny"],
      [id, "CONNECT", "sallyport.internal", "allow"],
      [id, "GET", "sallyport.internal", "allow"],
    ]);
    expect(proxy.sallyport.control.sandbox(id)).toMatchObject({ state: "ended", labels: { task: "42" } });
    const { status } = await fetch(`${proxy.url}/`, {
      headers: { "Proxy-Authorization": `Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}` },
    });
    expect(status).not.toBe(200);
  }, 60_000);

  test("of the proxy it has neither the token, nor the API, nor another way in", async () => {
    const { port, adminPort } = proxy;
    const script = `env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'
      for each in ${adminPort}/healthz ${port}/; do
        curl -sS -f -m 3 --noproxy '*' http://127.0.0.1:$each && echo reached
        curl -sS -f -m 3 --noproxy none.test http://127.0.0.1:$each && echo reached
        curl -sS -f -m 3 --noproxy none.test --proxytunnel http://localhost:$each && echo reached
      done >&2`;
    const { stdout, stderr } = await exec(["--config", file], script);
    expect(stdout).toContain("HTTPS_PROXY=");
    expect(stdout).not.toMatch(/SALLYPORT_(?:ADMIN|TOKEN)=/);
    expect(stdout).not.toContain(token);
    expect(stderr).not.toContain("reached");
    expect(
      (await decisions()).filter(([, , host]) => host === "127.0.0.1" || host === "localhost"),
    ).toHaveLength(4);
    expect(proxy.sallyport.control.sandboxes().filter(({ state }) => state === "active")).toEqual([]);
  }, 60_000);
});

describe.skipIf(why !== undefined)("nothing is run", () => {
  test.each([
    ["where it is not said which file that is", [], {}, /say with --config/],
    ["with a wrong token", ["--config", "FILE"], { SALLYPORT_TOKEN: "spt_wrong" }, /token|401/],
    ["under a policy that is not there", ["--config", "FILE", "--policy", "x"], {}, /"x"/],
  ])("%s", async (_what, options, env, said) => {
    const named = options.map((option) => (option === "FILE" ? file : option));
    const { code, stdout, stderr } = await exec(named, "echo ran", env);
    expect([code !== 0, stdout]).toEqual([true, ""]);
    expect(stderr).toMatch(said);
  });

  const own = (): string => {
    const path = join(home, "own.yaml");
    writeFileSync(path, "");
    return path;
  };
  test.each([
    ["where the file is the user's", "http://127.0.0.1:1", () => ["--config", own()], /yours to change/],
    ["where nobody answers", "http://127.0.0.1:1", () => [], /cannot be asked at 127\.0\.0\.1/],
    ["without a wall", "http://127.0.0.1:1", () => ["--no-wall"], /can read the token/],
    ["without an API", "", () => [], /SALLYPORT_ADMIN/],
    [
      "where the proxy is no URL",
      "http://127.0.0.1:1",
      () => ["--running", "10.0.0.2:3128"],
      /is a URL such as/,
    ],
  ])("%s", async (_what, admin, options, said) => {
    const command = ["exec", "--running", "http://127.0.0.1:3128", ...options(), "--", "true"];
    const env = { HOME: home, SALLYPORT_ADMIN: admin, SALLYPORT_TOKEN: "spt_x" };
    const { status, stderr } = await sallyportHere(command, { cwd: home, env });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(said);
  });
});

test("root may change everything; another what is theirs, what stands in what is theirs, and what all may write", () => {
  expect(mayChange("/etc/passwd")).toBe(isRoot);
  const at = mkdtempSync(join(tmpdir(), "sallyport-running-own-"));
  mkdirSync(join(at, "directory"));
  symlinkSync("/etc/passwd", join(at, "link"));
  for (const one of ["directory", "link"]) expect(mayChange(join(at, one))).toBe(true);
  rmSync(at, { recursive: true });
});
