// The admin API of a whole Sallyport: who may do what, what is answered against the document that says so, and what stands in the
// audit chain.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROUTES } from "../../src/admin/api.ts";
import type { TokenRole } from "../../src/registry/types.ts";
import type { AuditRecord } from "../support/audit-records.ts";
import { type ApiAnswer, type ApiCall, callApi, tokenFor } from "../support/api.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort } from "../proxy/wire.ts";

const ROLES = ["viewer", "approver", "operator", "admin", "runtime"] as const;
const CONFIGURATION = `
anonymous: default
policies:
  default: { preset: none }
  wide: { preset: all, methods: all }
  asking: { preset: none, ask: refuse }
  metered: { preset: none, budgets: { upload: 1MiB, requests: 10/min } }
sandboxes: [{ id: filed, secret: a-secret-of-the-file-1234, policy: default }]
`;

let proxy: RunningSallyport;
const tokens = new Map<TokenRole, string>();
beforeAll(async () => {
  proxy = await runSallyport(CONFIGURATION);
  for (const role of ROLES) tokens.set(role, await tokenFor(proxy, role));
}, 60_000);
afterAll(() => proxy[Symbol.asyncDispose]());

const ask = (call: ApiCall): Promise<ApiAnswer> => callApi({ port: proxy.adminPort }, call);
const as = (role: TokenRole, call: ApiCall): Promise<ApiAnswer> => ask({ ...call, token: tokens.get(role) });
const local = (call: ApiCall): Promise<ApiAnswer> =>
  callApi({ socketPath: join(proxy.directory, "data", "admin.sock") }, call);

let made = 0;
const name = (): string => `thing-${++made}`;

/** Calls for what is there, made anew each time: a call must be able to succeed for the table to say who may. */
const CALLS: Readonly<Record<string, () => Promise<ApiCall> | ApiCall>> = {
  "POST /v1/sandboxes": () => ({
    path: "/v1/sandboxes",
    body: { id: name(), policy: "default", labels: { task: "7" } },
  }),
  "GET /v1/sandboxes": () => ({ path: "/v1/sandboxes?state=all&limit=2&label=task%3D7" }),
  "GET /v1/sandboxes/{id}": async () => ({ path: `/v1/sandboxes/${await registered()}` }),
  "PATCH /v1/sandboxes/{id}": async () => ({
    path: `/v1/sandboxes/${await registered()}`,
    body: { policy: "wide", ttl: "2h", labels: { task: "8" } },
  }),
  "POST /v1/sandboxes/{id}/phase": async () => ({
    path: `/v1/sandboxes/${await registered({ phase: "setup" })}/phase`,
    body: { phase: "agent" },
  }),
  "DELETE /v1/sandboxes/{id}": async () => ({ path: `/v1/sandboxes/${await registered()}?reason=done` }),
  "GET /v1/sandboxes/{id}/budgets": async () => ({
    path: `/v1/sandboxes/${await registered({ policy: "metered" })}/budgets`,
  }),
  "GET /v1/sandboxes/{id}/refusals": async () => ({ path: `/v1/sandboxes/${await registered()}/refusals` }),
  "GET /v1/files": () => ({ path: "/v1/files?mount_point=/trust" }),
  "GET /v1/grants": () => ({ path: "/v1/grants?used=false" }),
  "POST /v1/grants": () => ({
    path: "/v1/grants",
    body: { host: "example.com", methods: ["GET"], reason: "a test", ttl: "5m" },
  }),
  "DELETE /v1/grants/{id}": async () => ({ path: `/v1/grants/${await granted()}` }),
  "GET /v1/approvals": () => ({ path: "/v1/approvals?state=all" }),
  "GET /v1/approvals/{id}": async () => ({ path: `/v1/approvals/${await asked()}` }),
  "POST /v1/approvals/{id}": async () => ({
    path: `/v1/approvals/${await asked()}`,
    body: { action: "allow", scope: "once", reason: "a test" },
  }),
  "GET /v1/lockdowns": () => ({ path: "/v1/lockdowns" }),
  "POST /v1/lockdowns": async () => ({
    path: "/v1/lockdowns",
    body: { sandbox: await registered(), reason: "a test" },
  }),
  "DELETE /v1/lockdowns/{sandbox}": async () => ({ path: `/v1/lockdowns/${await lockedDown()}?reason=over` }),
  "GET /v1/whoami": () => ({ path: "/v1/whoami" }),
  "GET /v1/tokens": () => ({ path: "/v1/tokens" }),
  "POST /v1/tokens": () => ({ path: "/v1/tokens", body: { name: name(), role: "viewer", ttl: "1h" } }),
  "DELETE /v1/tokens/{id}": async () => ({ path: `/v1/tokens/${await tokened()}` }),
  "POST /v1/audit/prune": async () => {
    const { body } = await as("operator", { path: "/v1/lockdowns" });
    for (const { sandbox } of body.items)
      await as("operator", { method: "DELETE", path: `/v1/lockdowns/${sandbox}?reason=over` });
    return { path: "/v1/audit/prune", body: { older_than: "90d", preview: true } };
  },
  "GET /v1/openapi.json": () => ({ path: "/v1/openapi.json" }),
  "GET /v1/events": () => ({ path: "/v1/events" }),
};

/** By the runtime, so that it may touch it too. */
async function registered(more = {}): Promise<string> {
  const { body } = await as("runtime", {
    method: "POST",
    path: "/v1/sandboxes",
    body: { policy: "asking", ...more },
  });
  return body.sandbox.id;
}
async function granted(): Promise<string> {
  const body = { host: "example.net", reason: "a test", ttl: "5m" };
  return (await as("operator", { method: "POST", path: "/v1/grants", body })).body.id;
}
async function lockedDown(): Promise<string> {
  const id = await registered();
  await as("operator", { method: "POST", path: "/v1/lockdowns", body: { sandbox: id, reason: "a test" } });
  return id;
}
async function tokened(): Promise<string> {
  const body = { name: name(), role: "viewer" };
  return (await as("admin", { method: "POST", path: "/v1/tokens", body })).body.token.id;
}
/** A request that no rule allows, refused with a reference to the approval. */
async function asked(): Promise<string> {
  const { body } = await as("runtime", { method: "POST", path: "/v1/sandboxes", body: { policy: "asking" } });
  const credentials = Buffer.from(`${body.sandbox.id}:${body.secret}`).toString("base64");
  await using wire = await dialPort(proxy.port);
  wire.write(
    `GET http://one.test/${name()} HTTP/1.1\r\nHost: one.test\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
  );
  await wire.until(() => wire.all.includes("\r\n\r\n"));
  const id = /sallyport-approval: (\S+)/i.exec(wire.all)?.[1];
  if (id === undefined) throw new Error(wire.all);
  return id;
}

async function registeredWithSecret(): Promise<{ id: string; basic: string }> {
  const { body } = await as("runtime", {
    method: "POST",
    path: "/v1/sandboxes",
    body: { policy: "default" },
  });
  const { id } = body.sandbox;
  return { id, basic: Buffer.from(`${id}:${body.secret}`).toString("base64") };
}
async function refusedAt(path: string, basic: string): Promise<void> {
  await using wire = await dialPort(proxy.port);
  wire.write(
    `GET http://attacker.example${path} HTTP/1.1\r\nHost: attacker.example\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
  );
  await wire.until(() => wire.all.includes("\r\n\r\n"));
  expect(wire.all).toMatch(/^HTTP\/1\.1 403 /);
}

/** As the issue says it, written out: a route that changes hands must change this table too. */
const MAY: Readonly<Record<string, readonly TokenRole[]>> = {
  "POST /v1/sandboxes": ["operator", "admin", "runtime"],
  "GET /v1/sandboxes": ["viewer", "approver", "operator", "admin", "runtime"],
  "GET /v1/sandboxes/{id}": ["viewer", "approver", "operator", "admin", "runtime"],
  "PATCH /v1/sandboxes/{id}": ["operator", "admin", "runtime"],
  "POST /v1/sandboxes/{id}/phase": ["operator", "admin", "runtime"],
  "DELETE /v1/sandboxes/{id}": ["operator", "admin", "runtime"],
  "GET /v1/sandboxes/{id}/budgets": ["viewer", "approver", "operator", "admin", "runtime"],
  "GET /v1/sandboxes/{id}/refusals": ["operator", "admin", "runtime"],
  "GET /v1/files": ["viewer", "approver", "operator", "admin", "runtime"],
  "GET /v1/grants": ["viewer", "approver", "operator", "admin"],
  "POST /v1/grants": ["operator", "admin"],
  "DELETE /v1/grants/{id}": ["operator", "admin"],
  "GET /v1/approvals": ["viewer", "approver", "operator", "admin"],
  "GET /v1/approvals/{id}": ["viewer", "approver", "operator", "admin"],
  "POST /v1/approvals/{id}": ["approver", "operator", "admin"],
  "GET /v1/lockdowns": ["viewer", "approver", "operator", "admin"],
  "POST /v1/lockdowns": ["operator", "admin"],
  "DELETE /v1/lockdowns/{sandbox}": ["operator", "admin"],
  "GET /v1/whoami": ["viewer", "approver", "operator", "admin", "runtime"],
  "GET /v1/tokens": ["admin"],
  "POST /v1/tokens": ["admin"],
  "DELETE /v1/tokens/{id}": ["admin"],
  "POST /v1/audit/prune": ["admin"],
  "GET /v1/openapi.json": ["viewer", "approver", "operator", "admin", "runtime"],
  "GET /v1/events": ["viewer", "approver", "operator", "admin"],
};

test("every route stands in the table", () => {
  const routes = ROUTES.map(({ method, path }) => `${method} ${path}`);
  expect(Object.keys(MAY).toSorted()).toEqual([...routes, "GET /v1/openapi.json"].toSorted());
  expect(Object.keys(CALLS).toSorted()).toEqual(Object.keys(MAY).toSorted());
});

describe.each(Object.entries(MAY).filter(([route]) => route !== "GET /v1/events"))("%s", (route, may) => {
  const method = route.slice(0, route.indexOf(" "));
  const prepared = async (): Promise<ApiCall> => ({ method, ...(await CALLS[route]?.()) }) as ApiCall;

  test.each(ROLES)("%s", async (role) => {
    const { status, text, body } = await as(role, await prepared());
    if (may.includes(role)) return expect(status, text).toBeLessThan(300);
    expect([status, body.type]).toEqual([403, "urn:sallyport:problem:forbidden"]);
  });

  test("without a token", async () => {
    const { status, headers, body } = await ask(await prepared());
    expect([status, body.type]).toEqual([401, "urn:sallyport:problem:unauthenticated"]);
    expect(headers["www-authenticate"]).toBe('Bearer realm="sallyport"');
  });

  test("is as its document says", async () => {
    const { body: document } = await as("viewer", { path: "/v1/openapi.json" });
    const operation = document.paths[route.slice(route.indexOf(" ") + 1)]?.[method.toLowerCase()];
    if (route === "GET /v1/openapi.json") return expect(document.openapi).toBe("3.1.0");
    expect(operation["x-roles"]).toEqual(may);
    const call = await prepared();
    if (call.body !== undefined) {
      const read = z.fromJSONSchema(operation.requestBody.content["application/json"].schema);
      expect(read.safeParse(call.body).error).toBeUndefined();
    }
    const said = await as(may.at(-1) as TokenRole, call);
    const response = operation.responses[said.status];
    expect(response, said.text).toBeDefined();
    if (response.content === undefined) return expect(said.text).toBe("");
    const answered = z.fromJSONSchema(response.content["application/json"].schema);
    expect(answered.safeParse(said.body).error).toBeUndefined();
  });
});

describe("who is somebody", () => {
  test("a token that is revoked, another's, cut short or in another place is nobody's", async () => {
    const { body } = await as("admin", {
      method: "POST",
      path: "/v1/tokens",
      body: { name: name(), role: "admin" },
    });
    const { token, secret } = body;
    expect((await ask({ path: "/v1/whoami", token: secret })).body).toMatchObject({ role: "admin" });
    await as("admin", { method: "DELETE", path: `/v1/tokens/${token.id}` });
    const credentials = Buffer.from(`x:${tokens.get("admin")}`).toString("base64");
    const wrong: ApiCall[] = [
      { path: "/v1/whoami", token: secret },
      { path: "/v1/whoami", token: tokens.get("admin")?.slice(0, -1) },
      { path: "/v1/whoami", headers: { Authorization: `Basic ${credentials}` } },
      { path: "/v1/whoami", headers: { Authorization: "Bearer " } },
      { path: `/v1/whoami?token=${tokens.get("admin")}` },
      { path: "/v1/whoami", headers: { "Sallyport-User": "root" } },
    ];
    for (const call of wrong) expect((await ask(call)).status, JSON.stringify(call)).toBe(401);
  });

  test("a sandbox's secret is no token, and a token no sandbox's secret", async () => {
    const { body } = await as("runtime", {
      method: "POST",
      path: "/v1/sandboxes",
      body: { policy: "default" },
    });
    expect((await ask({ path: "/v1/whoami", token: body.secret })).status).toBe(401);
  });

  test("guessing is slowed, also for whoever then has the right one", async () => {
    await using other = await runSallyport("anonymous: default");
    const token = await tokenFor(other, "viewer");
    const where = { port: other.adminPort };
    const statuses = [];
    for (let guess = 0; guess < 12; guess++)
      statuses.push((await callApi(where, { path: "/v1/whoami", token: `spt_wrong${guess}` })).status);
    const { status, headers } = await callApi(where, { path: "/v1/whoami", token });
    expect([statuses[0], statuses.at(-1), status]).toEqual([401, 429, 429]);
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    // Not over the socket, which nobody else may open.
    const socketPath = join(other.directory, "data", "admin.sock");
    expect((await callApi({ socketPath }, { path: "/v1/whoami", token })).status).toBe(200);
  });

  test("whoever may open the socket is this machine's administrator, and nobody else may", async () => {
    const { mode } = await stat(join(proxy.directory, "data", "admin.sock"));
    expect((mode & 0o777).toString(8)).toBe("600");
    const { body } = await local({ path: "/v1/whoami", headers: { "Sallyport-User": "olga" } });
    expect(body).toEqual({ name: "cli:olga", role: "admin", from: "local" });
    const { body: odd } = await local({ path: "/v1/whoami", headers: { "Sallyport-User": 'x" y' } });
    expect(odd.name).toBe("cli:somebody");
    expect((await local({ path: "/v1/tokens", token: tokens.get("viewer") })).status).toBe(403);
  });

  test("what is open is by choice", async () => {
    await using closed = await runSallyport(
      "anonymous: default",
      undefined,
      'admin: { listen: "127.0.0.1:0", open: [] }',
    );
    const viewer = await tokenFor(closed, "viewer");
    const runtime = await tokenFor(closed, "runtime");
    for (const path of ["/metrics", "/healthz", "/readyz"]) {
      const statuses = [];
      for (const token of [undefined, "spt_wrong", runtime, viewer])
        statuses.push((await callApi({ port: closed.adminPort }, { path, token })).status);
      expect([path, ...statuses]).toEqual([path, 401, 401, 403, 200]);
    }
  });
});

describe("what is not answered", () => {
  test.each([
    ["another name", { headers: { Host: "attacker.example" } }, 421],
    ["another site's page", { headers: { Origin: "https://attacker.example" } }, 403],
    ["another site's fetch", { headers: { "Sec-Fetch-Site": "cross-site" } }, 403],
    ["no route", { path: "/v1/sandbox" }, 404],
    ["a path written otherwise", { path: "/v1//sandboxes" }, 404],
    ["a route with another method", { method: "PUT" }, 405],
    ["a form", { method: "POST", body: "{}", headers: { "Content-Type": "text/plain" } }, 415],
    ["no JSON", { method: "POST", body: "{" }, 400],
    ["too much", { method: "POST", body: JSON.stringify({ id: "x".repeat(70_000) }) }, 413],
    ["a key that is none", { method: "POST", body: { policy: "default", polcy: "x" } }, 400],
    ["a span that is none", { method: "POST", body: { policy: "default", ttl: "forever" } }, 400],
    ["a span above what is kept", { method: "POST", body: { policy: "default", ttl: "31d" } }, 400],
    ["a policy that is none", { method: "POST", body: { policy: "nothing" } }, 400],
    ["a query that is none", { path: "/v1/sandboxes?stat=all" }, 400],
    ["a body where none is read", { method: "DELETE", path: "/v1/sandboxes/x", body: { reason: "x" } }, 400],
  ] satisfies [string, Partial<ApiCall>, number][])("%s", async (_what, call, status) => {
    const said = await as("admin", { path: "/v1/sandboxes", ...call });
    expect([said.status, said.text.length > 10], said.text).toEqual([status, true]);
  });

  test.each(["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0", "here.test"])(
    "anything that comes through the proxy: %s",
    async (host) => {
      await using wide = await runSallyport(
        "anonymous: default\npolicies: { default: { preset: all, methods: all } }\nupstream: { hosts: { here.test: [127.0.0.1] } }",
      );
      const token = await tokenFor(wide, "admin");
      await using wire = await dialPort(wide.port);
      const authority = `${host}:${wide.adminPort}`;
      wire.write(
        `GET http://${authority}/v1/tokens HTTP/1.1\r\nHost: ${authority}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      );
      await wire.until(() => wire.all.includes("\r\n\r\n"));
      expect(wire.all).toMatch(/^HTTP\/1\.1 40[03] /);
    },
  );
});

describe("sandboxes", () => {
  test("the environment that is answered lets its programs through, and the secret is told once", async () => {
    const { body } = await as("runtime", {
      method: "POST",
      path: "/v1/sandboxes",
      body: {
        policy: { setup: "wide", agent: "default" },
        setup_for: "1h",
        proxy: "http://sallyport:3128",
        mount_point: "/trust",
      },
    });
    expect(body.sandbox).toMatchObject({
      phase: "setup",
      policy: { setup: "wide", agent: "default" },
      state: "active",
    });
    expect(body.environment).toMatchObject({
      HTTPS_PROXY: `http://${body.sandbox.id}:${body.secret}@sallyport:3128`,
      NODE_EXTRA_CA_CERTS: "/trust/ca.pem",
    });
    expect(body.ca).toBe(proxy.trustAnchor);
    const { text } = await as("runtime", { path: `/v1/sandboxes/${body.sandbox.id}` });
    expect(text).not.toContain(body.secret);
  });

  test("a runtime is told of its own alone, and touches no other", async () => {
    const other = await tokenFor(proxy, "runtime", "another-runtime");
    const id = await registered();
    const path = `/v1/sandboxes/${id}`;
    const calls: ApiCall[] = [
      { path },
      { method: "PATCH", path, body: { ttl: "1h" } },
      { method: "POST", path: `${path}/phase`, body: { phase: "agent" } },
      { method: "DELETE", path },
      { path: `${path}/budgets` },
      { path: `${path}/refusals` },
      { path: "/v1/sandboxes/filed" },
    ];
    for (const call of calls) expect((await ask({ ...call, token: other })).status).toBe(404);
    const { body } = await ask({ path: "/v1/sandboxes?state=all", token: other });
    expect(body).toEqual({ items: [], next: null });
  });

  test("what was refused to a sandbox is told by kinds, without queries, and of no other", async () => {
    const { id, basic } = await registeredWithSecret();
    const neighbour = await registeredWithSecret();
    for (const [path, by] of [
      ["/x?token=1", basic],
      ["/other", neighbour.basic],
      ["/x?token=2", basic],
    ] as const)
      await refusedAt(path, by);
    const { body } = await as("runtime", { path: `/v1/sandboxes/${id}/refusals` });
    const kind = { method: "GET", url: "http://attacker.example/x", reason: "host-not-allowed", times: 2 };
    expect(body).toEqual({ items: [kind] });
  });

  test("back to setup is an operator's", async () => {
    const id = await registered({ phase: "agent" });
    const call = { method: "POST", path: `/v1/sandboxes/${id}/phase`, body: { phase: "setup" } };
    expect((await as("runtime", call)).status).toBe(409);
    expect((await as("operator", call)).body.phase).toBe("setup");
  });

  test("a change of what somebody else has changed is a conflict", async () => {
    const id = await registered();
    const path = `/v1/sandboxes/${id}`;
    const { body } = await as("operator", { path });
    const change = { method: "PATCH", path, body: { labels: { a: "b" }, version: body.version } };
    expect((await as("operator", change)).status).toBe(200);
    expect((await as("operator", change)).status).toBe(409);
  });

  test("long lists come in pages", async () => {
    const labels = { set: name() };
    const ids = [];
    for (let one = 0; one < 5; one++) ids.push(await registered({ labels }));
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const path = `/v1/sandboxes?limit=2&label=set%3D${labels.set}${after === null ? "" : `&after=${after}`}`;
      const { body } = await as("viewer", { path });
      expect(body.items.length).toBeLessThanOrEqual(2);
      seen.push(...body.items.map(({ id }: { id: string }) => id));
      after = body.next;
    } while (after !== null);
    expect(seen).toEqual(ids.toSorted());
  });
});

test("an approver allows, but writes no rule of the file", async () => {
  const path = `/v1/approvals/${await asked()}`;
  const always = { method: "POST", path, body: { action: "allow", scope: "always", reason: "a test" } };
  expect((await as("approver", always)).status).toBe(403);
  const hour = {
    method: "POST",
    path,
    body: { action: "allow", scope: "time", for: "1h", reason: "a test" },
  };
  expect((await as("approver", hour)).body).toMatchObject({
    state: "allowed",
    scope: "time",
    decided_by: "token:a-approver",
  });
});

test("every action stands in the audit chain, with who and from where, and so does what was not theirs", async () => {
  const id = await registered();
  await as("operator", { method: "POST", path: "/v1/lockdowns", body: { sandbox: id, reason: "odd bytes" } });
  await as("operator", { method: "DELETE", path: `/v1/lockdowns/${id}?reason=over` });
  await local({
    method: "DELETE",
    path: `/v1/sandboxes/${id}?reason=done`,
    headers: { "Sallyport-User": "root" },
  });
  await as("viewer", { method: "DELETE", path: `/v1/sandboxes/${id}` });
  const from = expect.stringMatching(/^127\.0\.0\.1:\d+$/);
  const fieldsOf = ({ fields }: AuditRecord) => (fields ?? {}) as Record<string, unknown>;
  const refused = { action: "api.forbidden", object: "DELETE /v1/sandboxes/{id}", actor: "token:a-viewer" };
  const isRefused = (record: AuditRecord): boolean =>
    Object.entries(refused).every(([key, value]) => fieldsOf(record)[key] === value);
  const records = await proxy.recorded((all) => all.some(isRefused));
  const told = records
    .map(fieldsOf)
    .filter(({ object }) => object === id)
    .map(({ action, actor, role, from: where }) => ({ action, actor, role, from: where }));
  expect(told).toEqual([
    { action: "sandbox.register", actor: "token:a-runtime", role: "runtime", from },
    { action: "lockdown", actor: "token:a-operator", role: "operator", from },
    { action: "lockdown.lift", actor: "token:a-operator", role: "operator", from },
    { action: "sandbox.end", actor: "cli:root", role: "admin", from: "local" },
  ]);
  for (const secret of tokens.values()) expect(JSON.stringify(records)).not.toContain(secret);
});

test("whoever listens hears that something changed", async () => {
  const heard = await fetch(`http://127.0.0.1:${proxy.adminPort}/v1/events`, {
    headers: { Authorization: `Bearer ${tokens.get("viewer")}` },
  });
  const reader = heard.body?.pipeThrough(new TextDecoderStream()).getReader();
  const next = async (): Promise<string> => (await reader?.read())?.value ?? "";
  expect([heard.status, heard.headers.get("content-type"), await next()]).toEqual([
    200,
    "text/event-stream",
    "event: changed\ndata: {}\n\n",
  ]);
  const changed = next();
  await registered();
  expect(await changed).toContain("event: changed");
  await reader?.cancel();
});

test("one who listens often leaves room for others, and gets its own back", async () => {
  const listen = (role: TokenRole, signal: AbortSignal) =>
    fetch(`http://127.0.0.1:${proxy.adminPort}/v1/events`, {
      headers: { Authorization: `Bearer ${tokens.get(role)}` },
      signal,
    });
  const over = new AbortController();
  const first = await Promise.all(Array.from({ length: 9 }, () => listen("viewer", over.signal)));
  expect(first.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([...Array(8).fill(200), 503]);
  expect((await listen("approver", over.signal)).status).toBe(200);
  over.abort();
  await expect
    .poll(async () => {
      const again = new AbortController();
      const { status } = await listen("viewer", again.signal);
      again.abort();
      return status;
    })
    .toBe(200);
});

test("what becomes of requests is counted", async () => {
  const metrics = await proxy.metrics();
  for (const outcome of ["done", "unauthenticated", "forbidden", "refused"])
    expect(metrics).toMatch(new RegExp(`sallyport_api_requests_total\\{outcome="${outcome}"\\} [1-9]`));
});
