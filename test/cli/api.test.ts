// The commands that ask a running proxy, as an operator types them: over its socket from its directory, and elsewhere with a token.

import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dialPort } from "../proxy/wire.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { directory, type Ended, sallyportHere, startSallyport } from "./support.ts";

let proxy: RunningSallyport;
beforeAll(async () => {
  proxy = await runSallyport(`
policies:
  setup: { preset: all }
  agent: { preset: none, ask: refuse }
`);
});
afterAll(() => proxy[Symbol.asyncDispose]());

const here = (...args: string[]): Promise<Ended> => sallyportHere(args, { cwd: proxy.directory });
async function done(...args: string[]): Promise<string> {
  const ended = await here(...args);
  expect(ended, args.join(" ")).toMatchObject({ status: 0 });
  return ended.stdout;
}

let made = 0;
async function registered(...more: string[]): Promise<{ id: string; secret: string }> {
  const args = [
    "sandbox",
    "register",
    "--id",
    `task-${++made}`,
    "--policy",
    "agent",
    "--format",
    "json",
    ...more,
  ];
  const { sandbox, secret } = JSON.parse(await done(...args));
  return { id: sandbox.id, secret };
}

/** A request that no rule allows; gives the approval's id. */
async function asked({ id, secret }: { id: string; secret: string }, path: string): Promise<string> {
  await using wire = await dialPort(proxy.port);
  const credentials = Buffer.from(`${id}:${secret}`).toString("base64");
  wire.write(
    `GET http://one.test${path} HTTP/1.1\r\nHost: one.test\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
  );
  await wire.until(() => wire.all.includes("\r\n\r\n"));
  return /sallyport-approval: (\S+)/i.exec(wire.all)?.[1] ?? "";
}

describe("sandbox", () => {
  test("its whole life", async () => {
    const out = join(proxy.directory, "trust");
    const shell = await done(
      "sandbox",
      "register",
      "--id",
      "whole",
      "--policy",
      "agent",
      "--setup-policy",
      "setup",
      "--phase",
      "setup",
      "--label",
      "task=42",
      "--ttl",
      "2h",
      "--out",
      out,
      "--format",
      "shell",
    );
    expect(shell).toMatch(
      new RegExp(`^export HTTPS_PROXY='http://whole:sps_[\\w-]+@127\\.0\\.0\\.1:${proxy.port}'$`, "m"),
    );
    expect(shell).toContain(`export NODE_EXTRA_CA_CERTS='${out}/ca.pem'`);
    expect(readFileSync(join(out, "ca.pem"), "utf8")).toBe(proxy.trustAnchor);
    expect(readFileSync(join(out, "apt.conf"), "utf8")).toContain(`"${out}/bundle.pem"`);
    expect(statSync(join(out, "truststore.p12")).mode & 0o777).toBe(0o644);
    expect(await done("sandbox", "list", "--label", "task=42")).toMatch(
      /^ID +STATE .*\nwhole +active +setup +setup +\d{4}-.*Z +task=42\n$/,
    );
    expect(await done("sandbox", "move", "whole", "agent")).toBe(
      "whole is in agent, under the policy agent.\n",
    );
    expect(
      JSON.parse(await done("sandbox", "update", "whole", "--label", "task=43", "--policy", "setup")),
    ).toMatchObject({
      labels: { task: "43" },
      policy: { setup: "setup", agent: "setup" },
    });
    expect(await done("sandbox", "end", "whole", "--reason", "done")).toBe("whole has ended.\n");
    expect(JSON.parse(await done("sandbox", "show", "whole"))).toMatchObject({
      state: "ended",
      ended_because: "done",
    });
    expect(JSON.parse(await done("sandbox", "list", "--state", "ended", "--json"))).toHaveLength(1);
  });

  test("why it is refused something is explained as the running proxy knows it", async () => {
    const { id } = await registered("--setup-policy", "setup");
    const explain = (...more: string[]): Promise<Ended> =>
      here("explain", "GET", "https://docs.test/page", "--sandbox", id, ...more);
    const asking = await explain();
    expect(asking).toMatchObject({ status: 3 });
    expect(asking.stdout).toMatch(
      new RegExp(`under policy agent\\n\\nidentity +${id} .* as the running proxy knows it`),
    );
    expect((await explain("--phase", "setup")).stdout).toContain("under policy setup");

    await done("grant", "create", "docs.test", "--sandbox", id, "--for", "5m", "--reason", "docs");
    const granted = await explain();
    expect(granted.stdout).toMatch(/\+ grant:grant-\w+ \(grant of cli:\w+\) "docs" · allowed/);
    expect(granted.status).toBe(0);

    await done("lockdown", "--sandbox", id, "--reason", "odd uploads");
    const locked = await explain();
    expect(locked.stdout).toMatch(/x lockdown \(lockdown by cli:\w+\) "odd uploads"/);
    expect(locked.status).toBe(3);
    await done("lockdown", "--sandbox", id, "--lift", "--reason", "over");

    await done("sandbox", "end", id, "--reason", "done");
    expect(await explain()).toMatchObject({ status: 3, stderr: expect.stringContaining("has ended (done)") });
    expect((await here("explain", "GET", "https://docs.test/", "--sandbox", "nobody")).stderr).toMatch(
      /no sandbox "nobody" in the file \(it names none\), nor in a proxy that runs: .*there is no sandbox "nobody"/,
    );
  });

  test("what the API refuses is said in its words", async () => {
    const ended = await here("sandbox", "register", "--policy", "nothing");
    expect(ended).toMatchObject({ status: 1, stdout: "" });
    expect(ended.stderr).toContain('there is no policy "nothing": the file names setup, agent');
    expect((await here("sandbox", "show", "nobody")).stderr).toContain('there is no sandbox "nobody"');
  });
});

test("approvals are told as they come, and decided", async () => {
  const sandbox = await registered("--label", "task=7");
  const watching = startSallyport(["approvals", "--watch"], { cwd: proxy.directory });
  const lines = createInterface({ input: watching.stdout })[Symbol.asyncIterator]();
  const first = await asked(sandbox, "/first");
  const told = [(await lines.next()).value, (await lines.next()).value];
  expect(told).toEqual([`${first}  ${sandbox.id} task=7`, "  GET http://one.test/first  (host-not-allowed)"]);
  await lines.next();
  const second = await asked(sandbox, "/second");
  expect((await lines.next()).value).toBe(`${second}  ${sandbox.id} task=7`);
  watching.kill("SIGINT");
  await once(watching, "exit");
  expect(await done("approvals")).toMatch(
    new RegExp(`${first} +pending +${sandbox.id} +GET http://one\\.test/first`),
  );
  expect(await done("approvals", "allow", first, "--for", "1h", "--reason", "fixtures")).toBe(
    `${first}: allowed (time): GET http://one.test/first\n`,
  );
  expect(await done("approvals", "deny", second, "--reason", "no")).toContain(": denied: ");
  expect(JSON.parse(await done("approvals", "--json"))).toEqual([]);
  expect(JSON.parse(await done("approvals", "--all", "--json"))).toHaveLength(2);
  expect(await here("approvals", "allow", first, "--once", "--always", "--reason", "x")).toMatchObject({
    status: 2,
  });
});

test("grants are made, listed with their use, revoked", async () => {
  const { id: sandbox } = await registered();
  const [id] = (
    await done(
      "grant",
      "create",
      "files.test",
      "--sandbox",
      sandbox,
      "--for",
      "1h",
      "--reason",
      "fixtures",
      "--method",
      "POST",
      "--path",
      "/a/**",
      "--port",
      "443",
    )
  ).split(":");
  const found = JSON.parse(await done("grant", "list", "--unused", "--sandbox", sandbox, "--json"));
  expect(found).toEqual([
    expect.objectContaining({
      id,
      host: "files.test",
      methods: ["POST"],
      paths: ["/a/**"],
      ports: [443],
      used_at: null,
    }),
  ]);
  expect(await done("grant", "revoke", id ?? "")).toBe(`${id} is revoked.\n`);
  expect((await here("grant", "list", "--sandbox", sandbox)).stderr).toContain("nothing is granted");
});

test("lockdown is ordered, told of and lifted, of one and of all", async () => {
  const { id } = await registered();
  await done("lockdown", "--sandbox", id, "--reason", "odd uploads");
  await done("lockdown", "--all", "--reason", "a drill");
  const list = await done("lockdown");
  expect(list).toMatch(new RegExp(`${id} .*odd uploads`));
  expect(list).toMatch(/all .*a drill/);
  await done("lockdown", "--all", "--lift", "--reason", "over");
  await done("lockdown", "--sandbox", id, "--lift", "--reason", "over");
  expect((await here("lockdown")).stderr).toContain("no lockdown is in force");
});

test.each([
  [["lockdown", "--all", "--sandbox", "x", "--reason", "x"], "either"],
  [["lockdown", "--all"], "--reason"],
  [["lockdown", "--reason", "x"], "--all"],
  [["lockdown", "--lift"], "--all"],
  [["sandbox", "register", "--policy", "agent", "--label", "x"], "NAME=VALUE"],
  [["token", "create", "--name", "x", "--role", "root"], "Allowed choices"],
])("wrong usage: %s", async (args, says) => {
  const ended = await here(...args);
  expect([ended.status, ended.stdout]).toEqual([2, ""]);
  expect(ended.stderr).toContain(says);
});

describe("elsewhere", () => {
  const elsewhere = (env: Record<string, string>, ...args: string[]): Promise<Ended> =>
    sallyportHere(args, { cwd: directory(), env });

  test("with a token, as far as its role goes", async () => {
    const created = await here("token", "create", "--name", "look", "--role", "viewer");
    const token = created.stdout.trim();
    expect(created.stderr).not.toContain(token);
    const env = { SALLYPORT_ADMIN: `http://127.0.0.1:${proxy.adminPort}`, SALLYPORT_TOKEN: token };
    expect((await elsewhere(env, "sandbox", "list", "--json")).status).toBe(0);
    expect((await elsewhere(env, "token", "list")).stderr).toContain("is for admin; you are viewer");
    expect(await done("token", "list")).toMatch(/look +viewer +-/);
    expect(await done("token", "revoke", "look")).toBe("look is revoked.\n");
    expect((await elsewhere(env, "sandbox", "list")).stderr).toContain("was revoked");
    expect((await here("token", "revoke", "look")).stderr).toContain('there is no token "look"');
  });

  test("what cannot be asked is told with what to do", async () => {
    expect((await elsewhere({}, "sandbox", "list")).stderr).toContain(
      "Is `sallyport run` running with this file?",
    );
    expect((await elsewhere({ SALLYPORT_ADMIN: "127.0.0.1:9128" }, "sandbox", "list")).status).toBe(2);
    expect((await elsewhere({ SALLYPORT_ADMIN: "http://127.0.0.1:1" }, "sandbox", "list")).stderr).toContain(
      "SALLYPORT_TOKEN",
    );
    const notOurs = { SALLYPORT_ADMIN: `http://127.0.0.1:${proxy.port}`, SALLYPORT_TOKEN: "spt_x" };
    expect((await elsewhere(notOurs, "sandbox", "list")).stderr).toContain(
      "is that a Sallyport's admin address?",
    );
    const off = await sallyportHere(["sandbox", "list"], {
      cwd: directory("admin: false\nanonymous: default\n"),
    });
    expect(off.stderr).toContain("has no admin socket");
  });
});
