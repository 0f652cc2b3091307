// Every requirement against a whole proxy: a policy that exceeds it is refused at load with its line, a grant and a call with a
// word, and what slipped through before is denied on the wire, and cut, while the operator's file is not mended.

import { X509Certificate } from "node:crypto";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { describe, expect, test } from "vitest";
import { startSallyport } from "../../src/assemble.ts";
import { type Actor, ControlError, type Decision, type NewGrant } from "../../src/registry/types.ts";
import { dialPort } from "../proxy/wire.ts";
import { type ApiCall, callApi, tokenFor } from "../support/api.ts";
import { answerRequests, OK } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { twoOrigins } from "../support/two-origins.ts";

const actor = (role: Actor["role"]): Actor => ({ name: `token:${role}`, role, from: "127.0.0.1:9" });
const OPERATOR = actor("operator");
const APPROVER = actor("approver");

const { ca, plain, secure, upstream } = await twoOrigins(["one.test", "raw.test"]);

type Row = {
  readonly requirement: string;
  readonly requires: string;
  /** A policy that exceeds it, and what it is told at load. */
  readonly policy: string;
  readonly told: string;
  /** What passes under that policy, and what becomes of it: the reason. */
  readonly way: (proxy: RunningSallyport) => Promise<string>;
  readonly passed: string;
  readonly denied: string;
  readonly grant: Partial<NewGrant> | { readonly none: string };
  readonly call: ApiCall;
};

const REACHED = "networks: [127.0.0.0/8]";
/** Opens the address, and nothing that the cases ask for. */
const HEAD_ONLY = `{ host: one.test, ${REACHED}, methods: [HEAD] }`;

async function get(proxy: RunningSallyport, method = "GET", path = "/", fields = ""): Promise<string> {
  await using wire = await dialPort(proxy.port);
  const authority = `one.test:${plain.port}`;
  const length = method === "POST" ? "Content-Length: 0\r\n" : "";
  wire.write(`${method} http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${fields}${length}\r\n`);
  const { status, field } = await wire.answer();
  return field("sallyport-reason") ?? `${status}`;
}

/** Whose certificate is shown, or why none is. */
async function issuer(proxy: RunningSallyport): Promise<string> {
  await using wire = await dialPort(proxy.port);
  const authority = `one.test:${secure.port}`;
  wire.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const answer = await wire.answer("CONNECT");
  if (answer.status !== 200) return answer.field("sallyport-reason") ?? "";
  wire.socket.removeAllListeners("data");
  const secured = connectTls({
    socket: wire.socket,
    servername: "one.test",
    ca: [ca.cert, proxy.trustAnchor],
  });
  await new Promise((resolve, reject) => secured.once("secureConnect", resolve).once("error", reject));
  const certificate = secured.getPeerX509Certificate();
  const by = certificate?.checkIssued(new X509Certificate(ca.cert)) === true ? "the origin's" : "the proxy's";
  secured.destroy();
  return by;
}

async function raw(proxy: RunningSallyport): Promise<string> {
  plain.behave((socket) => socket.write("SSH-2.0-origin\r\n"));
  await using wire = await dialPort(proxy.port);
  const authority = `raw.test:${plain.port}`;
  wire.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const answer = await wire.answer("CONNECT");
  if (answer.status !== 200) return answer.field("sallyport-reason") ?? "";
  await wire.until(() => wire.held.includes("SSH"));
  return wire.held.trim();
}

const register: ApiCall = {
  method: "POST",
  path: "/v1/sandboxes",
  body: { policy: { setup: "narrow", agent: "wide" } },
};
const update: ApiCall = {
  method: "PATCH",
  path: "/v1/sandboxes/task",
  body: { policy: { setup: "wide", agent: "narrow" } },
};

const rows: readonly Row[] = [
  {
    requirement: "presets",
    requires: "presets: [npm]",
    policy: `{ preset: all, allow: [${HEAD_ONLY}] }`,
    told: 'preset "all" may not be used: only npm',
    way: (proxy) => get(proxy),
    passed: "200",
    denied: "method-not-allowed",
    grant: { none: "a grant names a host, never a preset" },
    call: register,
  },
  {
    requirement: "methods",
    requires: "methods: read-only",
    policy: `{ methods: all, allow: [{ host: one.test, ${REACHED} }] }`,
    told: "methods all may not be allowed: only GET, HEAD, OPTIONS",
    way: (proxy) => get(proxy, "POST"),
    passed: "200",
    denied: "requirement",
    grant: { host: "one.test", methods: ["POST"] },
    call: update,
  },
  {
    requirement: "intents",
    requires: "methods: read-only\nintents: [npm-audit]",
    policy: `{ intents: [git-fetch], allow: [{ host: one.test, ${REACHED} }], }`,
    told: "the intent git-fetch may not be used: only npm-audit",
    way: (proxy) => get(proxy, "POST", "/r.git/git-upload-pack"),
    passed: "200",
    denied: "requirement",
    grant: { none: "a grant names methods, never an intent" },
    call: register,
  },
  {
    requirement: "hosts",
    requires: 'hosts: ["**.npmjs.org"]',
    policy: `{ allow: [{ host: one.test, ${REACHED} }] }`,
    told: '"one.test" is not among the hosts that may be allowed',
    way: (proxy) => get(proxy),
    passed: "200",
    denied: "requirement",
    grant: { host: "**.test", methods: ["GET"] },
    call: register,
  },
  {
    requirement: "deny, by name",
    requires: "deny: ['*.test']",
    policy: `{ allow: [{ host: one.test, ${REACHED} }] }`,
    told: '"one.test" is always denied',
    way: (proxy) => get(proxy),
    passed: "200",
    denied: "requirement",
    grant: { host: "x.one.test", methods: ["GET"] },
    call: update,
  },
  {
    requirement: "deny, by network",
    requires: "deny: [127.0.0.0/8]",
    policy: `{ allow: [{ host: one.test, ${REACHED} }] }`,
    told: '"127.0.0.0/8" is always denied',
    way: (proxy) => get(proxy),
    passed: "200",
    denied: "requirement",
    grant: { none: "a grant names no network" },
    call: register,
  },
  {
    requirement: "splice",
    requires: "splice: []",
    policy: `{ methods: all, allow: [{ host: one.test, ${REACHED} }], splice: [one.test] }`,
    told: '"one.test" may not be passed unread: none may',
    way: issuer,
    passed: "the origin's",
    denied: "the proxy's",
    grant: { none: "what is granted is always read" },
    call: register,
  },
  {
    requirement: "tcp",
    requires: "tcp: [git.test]",
    policy: `{ tcp: [{ host: raw.test, ports: [PORT], ${REACHED} }] }`,
    told: '"raw.test" may not be passed unread: only git.test',
    way: raw,
    passed: "SSH-2.0-origin",
    denied: "host-not-allowed",
    grant: { none: "what is granted is always read" },
    call: register,
  },
  {
    requirement: "mode",
    requires: "mode: enforce",
    policy: `{ mode: report-only, allow: [${HEAD_ONLY}] }`,
    told: "the policy must be in the mode enforce",
    way: (proxy) => get(proxy),
    passed: "200",
    denied: "method-not-allowed",
    grant: { none: "a grant has no mode" },
    call: update,
  },
  {
    requirement: "budgets",
    requires: "budgets: { requests: 2 }",
    policy: `{ allow: [{ host: one.test, ${REACHED} }], budgets: { requests: 100 } }`,
    told: "the budget requests is greater than it may be",
    way: async (proxy) => {
      // What was drawn under the greater one may still be spent: a chunk.
      let said = await get(proxy);
      for (let left = 20; left > 0 && said === "200"; left--) said = await get(proxy);
      plain.reset();
      return (await get(proxy)) === said ? said : "by turns";
    },
    passed: "200",
    denied: "budget-spent",
    grant: { none: "a grant has no budget, and none is lifted by it" },
    call: register,
  },
];

function configuration(policy: string, more = ""): string {
  return `${upstream}
limits: { drain: 1s }
anonymous: wide
policies:
  wide: ${policy.replace("PORT", `${plain.port}`)}
  narrow: { preset: none, ask: refuse, allow: [${HEAD_ONLY}] }
${more}`;
}

async function problemOf(attempt: Promise<unknown>): Promise<string> {
  return attempt.then(
    () => "nothing",
    (error: unknown) =>
      error instanceof ControlError ? `${error.problem}: ${error.message}` : String(error),
  );
}

describe.each(rows)("$requirement", (row) => {
  test.each(
    [
      ["one process", ""],
      ["two workers", "workers: 2\n"],
    ].slice(0, row.requirement === "hosts" ? 2 : 1),
  )(
    "%s",
    async (_name, more) => {
      await using proxy = await runSallyport(configuration(row.policy, more));
      const { control } = proxy.sallyport;
      await control.register(OPERATOR, {
        id: "task",
        policies: { setup: "narrow", agent: "narrow" },
        phase: "agent",
        labels: {},
      });
      expect(await row.way(proxy)).toBe(row.passed);
      plain.reset();

      const refused = await proxy.require(row.requires);
      const [line, ...others] = refused.filter((one) => /^sallyport\.yaml:8:\d+ (?!warning)/.test(one));
      expect(line).toMatch(/ \(required by requirements\.yaml:1:\d+\)$/);
      expect(line).toContain(` ${row.told} (`);
      expect(others).toEqual([]);
      expect(await row.way(proxy)).toBe(row.denied);
      expect(plain.received).toBe("");

      const token = await tokenFor(proxy, "admin");
      const api = async (call: ApiCall): Promise<string> => {
        const { status, body } = await callApi({ port: proxy.adminPort }, { ...call, token });
        return `${status} ${String(body.detail)}`;
      };
      expect(await api(row.call)).toMatch(/^403 policy wide: .*\(required by requirements\.yaml:1:\d+\)$/);
      if ("none" in row.grant) return;
      const body = { host: "one.test", methods: ["GET"], reason: "wanted", ...row.grant };
      const because = /\(required by requirements\.yaml:1:\d+\)$/;
      expect(await api({ method: "POST", path: "/v1/grants", body: { ...body, ttl: "60s" } })).toMatch(
        because,
      );
      expect(await problemOf(control.grant(actor("admin"), { ...body, ttl: 60_000 }))).toMatch(because);
      expect(control.grants()).toEqual([]);
    },
    60_000,
  );
});

describe("what is granted and approved", () => {
  const asking =
    "{ preset: none, ask: refuse, allow: [{ host: one.test, networks: [127.0.0.0/8], methods: [HEAD] }] }";
  const GRANT = { host: "one.test", methods: ["GET"], reason: "wanted" } as const;

  /** The approval that a request under the policy that asks is to be allowed by. */
  async function asked(proxy: RunningSallyport): Promise<string> {
    expect(await get(proxy)).toBe("approval-required");
    return proxy.sallyport.control.approvals().find(({ state }) => state === "pending")?.id ?? "";
  }

  async function asSandbox(proxy: RunningSallyport): Promise<(path?: string) => Promise<string>> {
    const policies = { setup: "wide", agent: "wide" };
    const { secret } = await proxy.sallyport.control.register(OPERATOR, {
      id: "task",
      policies,
      phase: "agent",
      labels: {},
    });
    const field = `Proxy-Authorization: Basic ${Buffer.from(`task:${secret}`).toString("base64")}\r\n`;
    return (path = "/") => get(proxy, "GET", path, field);
  }

  test("role: nobody of a lesser role grants or approves, and anybody denies", async () => {
    await using proxy = await runSallyport(configuration(asking));
    const { control } = proxy.sallyport;
    const id = await asked(proxy);
    expect(await proxy.require("grants: { role: operator }")).toEqual([]);
    const least =
      "above-requirements: only the role operator and above may allow this (required by requirements.yaml:1:17)";
    expect(await problemOf(control.grant(APPROVER, { ...GRANT, ttl: 60_000 }))).toBe(least);
    for (const scope of ["once", "always"] as const)
      expect(
        await problemOf(control.decideApproval(APPROVER, id, { action: "allow", scope, reason: "x" })),
      ).toBe(least);
    for (const role of ["viewer", "runtime", "system"] as const)
      expect(await problemOf(control.grant(actor(role), { ...GRANT, ttl: 60_000 }))).toBe(least);
    expect(await get(proxy)).toBe("approval-required");
    await control.decideApproval(APPROVER, id, { action: "deny", reason: "no" });
    expect(await get(proxy)).toBe("approval-denied");
    const { expires } = await control.grant(OPERATOR, { ...GRANT, ttl: 60_000 });
    expect(expires).toBeGreaterThan(Date.now());
    expect(await get(proxy)).toBe("200");
  });

  test("longest: nothing is granted or approved for longer, and what was ends by it", async () => {
    await using proxy = await runSallyport(configuration(asking));
    const { control } = proxy.sallyport;
    const ask = await asSandbox(proxy);
    expect(await ask()).toBe("approval-required");
    const [approval] = control.approvals();
    const long = await control.grant(OPERATOR, { ...GRANT, paths: ["/long"], ttl: 3_600_000 });
    expect(await ask("/long")).toBe("200");
    plain.behave((socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"));
    await using open = await dialPort(proxy.port);
    const authority = `one.test:${plain.port}`;
    open.write(`GET http://${authority}/long HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await open.until(() => open.all.endsWith("hello"));

    expect(await proxy.require("grants: { longest: 2s }")).toEqual([]);
    const above =
      "above-requirements: nothing may be granted for longer than 2 seconds (required by requirements.yaml:1:20)";
    expect(await problemOf(control.grant(OPERATOR, { ...GRANT, ttl: 2_001 }))).toBe(above);
    const decisions: Decision[] = [
      { action: "allow", scope: "time", ms: 3_000, reason: "x" },
      { action: "allow", scope: "sandbox", reason: "x" },
    ];
    for (const decision of decisions)
      expect(await problemOf(control.decideApproval(APPROVER, approval?.id ?? "", decision))).toBe(above);
    expect(control.grants().map(({ id, expires }) => [id, expires])).toEqual([
      [long.id, long.createdAt + 2_000],
    ]);
    // Cut as its grant ends, by a clock that was set for an hour.
    await open.rest();
    expect(Date.now()).toBeGreaterThanOrEqual(long.createdAt + 2_000);
    plain.behave(answerRequests(() => OK));
    expect(await ask("/long")).toBe("approval-required");
    expect(control.grants()).toEqual([]);
    expect(await problemOf(control.grant(OPERATOR, { ...GRANT, ttl: 2_000 }))).toBe("nothing");
  });

  test("always: no approval becomes a rule, and others do not suffer by it", async () => {
    await using proxy = await runSallyport(configuration(asking));
    const { control } = proxy.sallyport;
    const id = await asked(proxy);
    expect(await proxy.require("grants: { always: false }")).toEqual([]);
    const decide = (scope: "always" | "once"): Promise<string> =>
      problemOf(control.decideApproval(APPROVER, id, { action: "allow", scope, reason: "x" }));
    expect(await decide("always")).toBe(
      "above-requirements: nothing may be allowed for always by an approval (required by requirements.yaml:1:19)",
    );
    expect(await decide("once")).toBe("nothing");
    expect(await get(proxy)).toBe("200");
  });

  test("what was asked before it was forbidden is approved by nobody, in no scope", async () => {
    await using proxy = await runSallyport(configuration(asking));
    const { control } = proxy.sallyport;
    const id = await asked(proxy);
    await proxy.require("methods: [HEAD, OPTIONS]");
    for (const scope of ["once", "sandbox", "always"] as const)
      expect(
        await problemOf(control.decideApproval(OPERATOR, id, { action: "allow", scope, reason: "x" })),
      ).toBe(
        "above-requirements: methods GET may not be allowed: only HEAD, OPTIONS (required by requirements.yaml:1:10)",
      );
    expect(await get(proxy)).toBe("requirement");
  });
});

test("what is under way is cut as soon as it is forbidden, while the operator's file is broken", async () => {
  await using proxy = await runSallyport(configuration(`{ allow: [{ host: one.test, ${REACHED} }] }`));
  plain.behave((socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"));
  await using open = await dialPort(proxy.port);
  const authority = `one.test:${plain.port}`;
  open.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  await open.until(() => open.all.endsWith("hello"));
  expect(await proxy.reconfigure("nonsense: 1\n")).toBe(false);
  await proxy.require("deny: [one.test]");
  await open.rest();
  expect(open.all).toMatch(/hello$/);
  expect(await get(proxy)).toBe("requirement");
  // Nobody's word is taken for it but the administrator's.
  expect((await proxy.require("deny: 7")).some((line) => line.startsWith("requirements.yaml:1:7 "))).toBe(
    true,
  );
  expect(await get(proxy)).toBe("requirement");
});

test("it does not start beyond them, nor where others can change them", async () => {
  await using proxy = await runSallyport(configuration("{ preset: all }"));
  const { directory } = proxy;
  const file = join(directory, "requirements.yaml");
  const start = (env: Record<string, string> = {}): Promise<unknown> => {
    const requirements = { file, owner: process.getuid?.() ?? 0 };
    return startSallyport({ cwd: directory, env, requirements }).then(
      async (started) => started.stop().then(() => "started"),
      (error: unknown) => (error instanceof Error ? error.message : error),
    );
  };
  const required = Buffer.from("audit: { durability: disk }").toString("base64");
  expect(await start({ SALLYPORT_REQUIREMENTS_BASE64: required })).toContain(
    "sallyport.yaml:1:1 the durability must be disk (required by SALLYPORT_REQUIREMENTS_BASE64:1:22)",
  );
  await writeFile(file, "presets: []\n");
  expect(await start()).toContain('sallyport.yaml:8:19 preset "all" may not be used: none may');
  await writeFile(file, "{}\n");
  await chmod(file, 0o666);
  expect(await start()).toBe(
    `requirements.yaml:1:1 ${file} can be written by others: run chmod go-w ${file}`,
  );
});
