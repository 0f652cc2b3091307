// A request that no rule allows, under a policy that asks: held or refused with a reference, allowed or denied by somebody, and
// judged again by whatever holds then. Until it is allowed the origin receives nothing.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Actor, ApprovalView, Decision } from "../../src/registry/types.ts";
import { answerRequests, OK } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges } from "../support/audit-records.ts";
import { twoOrigins } from "../support/two-origins.ts";

const APPROVER: Actor = { name: "token:ada", role: "approver", from: "127.0.0.1:9" };
const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:9" };
const RUNTIME: Actor = { name: "token:runner", role: "runtime", from: "127.0.0.1:9" };
const ONCE: Decision = { action: "allow", scope: "once", reason: "looked at it" };

const { plain, secure, upstream } = await twoOrigins(["one.test", "two.test"]);
let ask: "wait" | "refuse" = "wait";

/** Names lead to loopback, which rules of the file let pass; none of them allows a path that is asked for here. */
function configuration(more: { deny?: string; wait?: string; top?: string } = {}): string {
  const rule = (host: string): string =>
    `{ host: ${host}, networks: [127.0.0.0/8], methods: [GET], paths: [/open] }`;
  return `
${upstream}
limits: { drain: 1s, approval: ${more.wait ?? "60s"} }
anonymous: asking
policies:
  asking: { preset: none, ask: ${ask}, allow: [${rule("one.test")}, ${rule("two.test")}], deny: [${more.deny ?? ""}] }
  closed: { preset: none, methods: all }
sandboxes: [{ id: filed, secret: its-own-secret-of-24-char, policy: { setup: asking, agent: closed }, phase: setup }]
${more.top ?? ""}`;
}

const FILED = `Proxy-Authorization: Basic ${Buffer.from("filed:its-own-secret-of-24-char").toString("base64")}\r\n`;

type Begun = { readonly wire: Wire; readonly answered: Promise<Awaited<ReturnType<Wire["answer"]>>> };

async function begin(
  proxy: RunningSallyport,
  { method = "POST", path = "/made", host = "one.test", fields = FILED, body = "" } = {},
): Promise<Begun> {
  const wire = await dialPort(proxy.port);
  const authority = `${host}:${plain.port}`;
  const length = body === "" ? "" : `Content-Length: ${body.length}\r\n`;
  wire.write(
    `${method} http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${fields}${length}\r\n${body}`,
  );
  const answered = wire.answer(method);
  // Some are given up unanswered.
  answered.catch(() => {});
  return { wire, answered };
}

/** The pending approvals, once there are so many. */
async function pending(proxy: RunningSallyport, many = 1): Promise<ApprovalView[]> {
  const { control } = proxy.sallyport;
  for (let tries = 0; tries < 500; tries++) {
    const found = control.approvals().filter(({ state }) => state === "pending");
    if (found.length >= many) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not asked: ${JSON.stringify(control.approvals())}`);
}

async function only(proxy: RunningSallyport): Promise<ApprovalView> {
  const [approval, ...more] = await pending(proxy);
  if (approval === undefined || more.length > 0) throw new Error("not one approval");
  return approval;
}

describe("a policy that waits", () => {
  let proxy: RunningSallyport;
  beforeEach(async () => {
    ask = "wait";
    proxy = await runSallyport(configuration());
  });
  afterEach(() => proxy[Symbol.asyncDispose]());

  test("holds the request, body and all, and sends it once somebody allows it", async () => {
    const { answered } = await begin(proxy, { path: "/made?secret=1", body: "hello" });
    const approval = await only(proxy);
    expect(approval).toMatchObject({
      state: "pending",
      sandbox: "filed",
      policy: "asking",
      method: "POST",
      scheme: "http",
      host: "one.test",
      path: "/made",
      query: true,
      reason: "path-not-allowed",
      requests: 1,
    });
    expect(JSON.stringify(approval)).not.toContain("secret=1");
    expect(plain.connections).toBe(0);
    await proxy.sallyport.control.decideApproval(APPROVER, approval.id, ONCE);
    expect((await answered).status).toBe(200);
    expect(plain.received).toMatch(/^POST \/made\?secret=1 .*hello$/s);
    const records = await proxy.recorded((all) => all.some(({ type }) => type === "completion"));
    const [{ decision } = { decision: undefined }] = exchanges(records);
    expect(decision).toMatchObject({
      verdict: "allow",
      rule: { id: `approval:${approval.id}`, source: "token:ada", reason: "looked at it" },
    });
    const notes = records.filter(({ type }) => type === "control").map(({ fields }) => fields);
    expect(notes).toEqual([
      expect.objectContaining({
        action: "approval.ask",
        object: approval.id,
        path: "/made",
        sandbox: "filed",
      }),
      expect.objectContaining({ action: "approval.allow", actor: "token:ada", scope: "once", path: "/made" }),
    ]);
  });

  test("refuses what is denied, and does not ask again so soon", async () => {
    const { answered } = await begin(proxy);
    const { id } = await only(proxy);
    await proxy.sallyport.control.decideApproval(APPROVER, id, { action: "deny", reason: "no" });
    const answer = await answered;
    expect(answer.status).toBe(403);
    expect(answer.field("sallyport-reason")).toBe("approval-denied");
    expect(answer.field("sallyport-approval")).toBe(id);
    expect(answer.field("retry-after")).toBeUndefined();
    expect(answer.body).not.toContain("no\n");
    const again = await (await begin(proxy)).answered;
    expect(again.field("sallyport-reason")).toBe("approval-denied");
    expect(plain.connections).toBe(0);
  });

  test("one document for requests that are alike, all of which one decision lets pass, once", async () => {
    const three = await Promise.all([begin(proxy), begin(proxy), begin(proxy)]);
    for (let tries = 0; (await only(proxy)).requests < 3 && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    const approval = await only(proxy);
    expect(approval.requests).toBe(3);
    await proxy.sallyport.control.decideApproval(APPROVER, approval.id, ONCE);
    for (const { answered } of three) expect((await answered).status).toBe(200);
    const { wire } = await begin(proxy);
    expect((await only(proxy)).id).not.toBe(approval.id);
    expect(plain.received.match(/POST/g)).toHaveLength(3);
    wire.socket.destroy();
  });

  test("other methods, ports, hosts, paths, queries and sandboxes are asked about apart", async () => {
    const others = await Promise.all([
      begin(proxy),
      begin(proxy, { method: "DELETE" }),
      begin(proxy, { method: "post" }),
      begin(proxy, { host: "two.test" }),
      begin(proxy, { path: "/made/" }),
      begin(proxy, { path: "/made?a" }),
      begin(proxy, { path: "/MADE" }),
      begin(proxy, { path: "/a%2Fmade" }),
      begin(proxy, { fields: "" }),
    ]);
    const asked = await pending(proxy, others.length);
    expect(asked).toHaveLength(others.length);
    const first = asked.find(
      ({ method, path, query, host, sandbox }) =>
        [method, path, query, host, sandbox].join() === "POST,/made,false,one.test,filed",
    );
    await proxy.sallyport.control.decideApproval(APPROVER, first?.id ?? "", ONCE);
    expect((await others[0].answered).status).toBe(200);
    expect(plain.received.match(/HTTP\/1\.1/g)).toHaveLength(1);
    // One spelling, one path: what climbs is resolved before anybody is asked.
    const climbing = await begin(proxy, { path: "/x/../made/" });
    expect(await pending(proxy, others.length - 1)).toHaveLength(others.length - 1);
    for (const { wire } of [...others, climbing]) wire.socket.destroy();
  });

  test("is asked inside a tunnel too, with method, host and path", async () => {
    const authority = `one.test:${secure.port}`;
    const wire = await openTunnel({
      port: proxy.port,
      target: authority,
      headers: FILED,
      tls: { ca: [proxy.trustAnchor], servername: "one.test" },
    });
    if (!(wire instanceof Wire)) throw new Error("no tunnel");
    wire.write(`PUT /inside HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const approval = await only(proxy);
    expect(approval).toMatchObject({ method: "PUT", scheme: "https", host: "one.test", path: "/inside" });
    expect(secure.connections).toBe(0);
    await proxy.sallyport.control.decideApproval(APPROVER, approval.id, ONCE);
    expect((await wire.answer("PUT")).status).toBe(200);
    wire.socket.destroy();
  });

  test("gives up with its sandbox, and records that nothing came of it", async () => {
    const { wire } = await begin(proxy);
    const { id } = await only(proxy);
    wire.socket.resetAndDestroy();
    const records = await proxy.recorded((all) => all.some(({ type }) => type === "completion"));
    const [{ decision, completion } = { decision: undefined, completion: undefined }] = exchanges(records);
    expect(decision).toMatchObject({ verdict: "deny", reason: "approval-required" });
    expect(completion).toMatchObject({ outcome: "aborted" });
    // Allowed all the same, it is the next request of its kind that has it, and one only.
    await proxy.sallyport.control.decideApproval(APPROVER, id, ONCE);
    const next = await begin(proxy);
    expect((await next.answered).status).toBe(200);
    expect(plain.received.match(/POST/g)).toHaveLength(1);
  });

  test("judges again what was allowed: a deny rule, a lockdown, a phase and an end that came meanwhile stand above it", async () => {
    const { control } = proxy.sallyport;
    const denied = await begin(proxy);
    const first = await only(proxy);
    expect(await proxy.reconfigure(configuration({ deny: "{ host: one.test, paths: [/made] }" }))).toBe(true);
    expect((await denied.answered).field("sallyport-reason")).toBe("host-denied");
    await control.decideApproval(APPROVER, first.id, ONCE);
    expect((await (await begin(proxy)).answered).field("sallyport-reason")).toBe("host-denied");

    expect(await proxy.reconfigure(configuration())).toBe(true);
    const locked = await begin(proxy, { path: "/locked" });
    const second = await only(proxy);
    await control.lockDown(OPERATOR, "filed", "an attack");
    expect((await locked.answered).field("sallyport-reason")).toBe("lockdown");
    await expect(control.decideApproval(APPROVER, second.id, ONCE)).rejects.toMatchObject({
      problem: "conflict",
    });
    await control.lift(OPERATOR, "filed", "over");

    const moving = await begin(proxy, { path: "/moving" });
    const third = (await pending(proxy, 2)).find(({ path }) => path === "/moving");
    await control.move(OPERATOR, "filed", "agent");
    expect((await moving.answered).field("sallyport-reason")).toBe("host-not-allowed");
    await expect(control.decideApproval(APPROVER, third?.id ?? "", ONCE)).rejects.toMatchObject({
      problem: "conflict",
    });
    expect(plain.connections).toBe(0);
  });

  test("an approval is for the sandbox that asked, and for no later one", async () => {
    const { control } = proxy.sallyport;
    const registration = {
      policies: { setup: "asking", agent: "asking" },
      phase: "agent",
      labels: { task: "42" },
    } as const;
    const { secret } = await control.register(RUNTIME, { id: "short", ...registration });
    const fields = `Proxy-Authorization: Basic ${Buffer.from(`short:${secret}`).toString("base64")}\r\n`;
    const { answered } = await begin(proxy, { fields });
    const { id, labels } = await only(proxy);
    expect(labels).toEqual({ task: "42" });
    await control.end(RUNTIME, "short", "done");
    expect((await answered).status).toBe(407);
    await expect(control.decideApproval(APPROVER, id, ONCE)).rejects.toMatchObject({ problem: "conflict" });
    expect(plain.connections).toBe(0);
  });

  test("allowed for the sandbox, a grant lets the very same pass, and nothing near it", async () => {
    const { control } = proxy.sallyport;
    const { answered } = await begin(proxy);
    const { id } = await only(proxy);
    await control.decideApproval(APPROVER, id, { action: "allow", scope: "sandbox", reason: "its work" });
    expect((await answered).status).toBe(200);
    expect((await (await begin(proxy, { path: "/made?other" })).answered).status).toBe(200);
    expect(control.grants()).toEqual([
      expect.objectContaining({
        sandbox: "filed",
        host: "one.test",
        ports: [plain.port],
        methods: ["POST"],
        paths: ["/made"],
        owner: "token:ada",
        reason: "its work",
      }),
    ]);
    const near = await Promise.all([
      begin(proxy, { path: "/made/it" }),
      begin(proxy, { method: "PUT" }),
      begin(proxy, { host: "two.test" }),
    ]);
    expect(await pending(proxy, 3)).toHaveLength(3);
    for (const { wire } of near) wire.socket.destroy();
    // The first use is written at once, so that the grant's end can say whether it was needed.
    for (let tries = 0; control.grants()[0]?.usedAt === undefined && tries < 100; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(control.grants()[0]?.usedAt).toBeTypeOf("number");
    // Revoked, it is asked about again.
    await control.revokeGrant(OPERATOR, control.grants()[0]?.id ?? "");
    const { wire } = await begin(proxy);
    expect(await pending(proxy, 4)).toHaveLength(4);
    wire.socket.destroy();
  });

  test("of a denial and an allowance at once, one stands", async () => {
    const { answered } = await begin(proxy);
    const { id } = await only(proxy);
    const { control } = proxy.sallyport;
    const outcomes = await Promise.allSettled([
      control.decideApproval(APPROVER, id, { action: "deny", reason: "no" }),
      control.decideApproval(OPERATOR, id, ONCE),
    ]);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const denied = outcomes[0]?.status === "fulfilled";
    expect((await answered).status).toBe(denied ? 403 : 200);
    expect(plain.received === "").toBe(denied);
  });

  test("holds so many requests of one sandbox, and asks about so many; the rest is refused at once", async () => {
    const held = await Promise.all(Array.from({ length: 16 }, () => begin(proxy)));
    for (let tries = 0; (await only(proxy)).requests < 16 && tries < 200; tries++)
      await new Promise((resolve) => setTimeout(resolve, 10));
    const over = await (await begin(proxy)).answered;
    expect(over.status).toBe(403);
    expect(over.field("sallyport-reason")).toBe("approval-required");
    expect(over.field("sallyport-approval")).toBe((await only(proxy)).id);
    expect(over.field("retry-after")).toBe("30");
    const reasons = new Set<string | undefined>();
    for (let n = 0; n < 63; n++) await (await begin(proxy, { path: `/${n}` })).answered;
    for (let n = 63; n < 66; n++)
      reasons.add((await (await begin(proxy, { path: `/${n}` })).answered).field("sallyport-reason"));
    expect([...reasons]).toEqual(["path-not-allowed"]);
    expect(await pending(proxy, 64)).toHaveLength(64);
    // Another sandbox has a share of its own.
    const { wire } = await begin(proxy, { fields: "" });
    expect(await pending(proxy, 65)).toHaveLength(65);
    for (const one of [...held, { wire }]) one.wire.socket.destroy();
    expect(plain.connections).toBe(0);
  });

  test("what nobody could see, or nobody may lift, is not asked about", async () => {
    const long = `/${"a".repeat(1_100)}`;
    const cases = [
      { request: { path: long }, reason: "path-ambiguous" },
      { request: { path: "/made%255c" }, reason: "path-ambiguous" },
      { request: { fields: `${FILED}X-HTTP-Method-Override: DELETE\r\n` } },
      { request: { method: "GET", body: "smuggled" } },
      { request: { method: "GET", fields: `${FILED}Connection: Upgrade\r\nUpgrade: websocket\r\n` } },
      { request: { host: "127.0.0.1" }, reason: "address-literal" },
    ];
    for (const { request, reason } of cases) {
      const { answered } = await begin(proxy, request);
      const answer = await answered;
      expect(answer.status).toBe(403);
      if (reason !== undefined) expect(answer.field("sallyport-reason")).toBe(reason);
      expect(answer.field("sallyport-approval")).toBeUndefined();
    }
    expect(proxy.sallyport.control.approvals()).toEqual([]);
    expect(plain.connections).toBe(0);
  });

  test("an approval lifts no address: what the guard refuses stays refused", async () => {
    const { answered } = await begin(proxy, { host: "inside.test" });
    const { id } = await only(proxy);
    await proxy.sallyport.control.decideApproval(APPROVER, id, ONCE);
    const reason = (await answered).field("sallyport-reason");
    expect(["address-loopback", "dns-not-found", "dns-failed"]).toContain(reason);
    expect(plain.connections).toBe(0);
  });

  test("a sandbox cannot reach what decides, through the proxy", async () => {
    const admin = `127.0.0.1:${proxy.adminPort}`;
    const wire = await dialPort(proxy.port);
    wire.write(`POST http://${admin}/v1/approvals/x HTTP/1.1\r\nHost: ${admin}\r\n${FILED}\r\n`);
    expect((await wire.answer("POST")).status).toBe(403);
    wire.socket.destroy();
    expect(proxy.sallyport.control.approvals()).toEqual([]);
  });

  test("a stop keeps nobody waiting", async () => {
    const { answered } = await begin(proxy);
    const { id } = await only(proxy);
    const stopped = proxy.sallyport.stop();
    const answer = await answered;
    expect(answer.field("sallyport-reason")).toBe("approval-required");
    expect(answer.field("sallyport-approval")).toBe(id);
    await stopped;
    expect(plain.connections).toBe(0);
  });
});

test("what nobody decides in time is refused with a reference, and can be decided afterwards", async () => {
  ask = "wait";
  await using proxy = await runSallyport(configuration({ wait: "200ms" }));
  const { answered } = await begin(proxy, { fields: `${FILED}Accept: application/json\r\n` });
  const answer = await answered;
  const { id } = await only(proxy);
  expect(JSON.parse(answer.body)).toMatchObject({ reason: "approval-required", approval: id });
  await proxy.sallyport.control.decideApproval(APPROVER, id, ONCE);
  expect((await (await begin(proxy)).answered).status).toBe(200);
  expect((await (await begin(proxy)).answered).status).toBe(403);
  expect(plain.received.match(/POST/g)).toHaveLength(1);
  const metrics = await proxy.metrics();
  expect(metrics).toContain('sallyport_approvals_total{outcome="once"} 1');
  expect(metrics).toMatch(/sallyport_approval_wait_seconds_count [2-3]/);
  expect(metrics).toContain("sallyport_approvals_pending 1");
});

describe("a policy that refuses", () => {
  let proxy: RunningSallyport;
  beforeEach(async () => {
    ask = "refuse";
    proxy = await runSallyport(configuration());
  });
  afterEach(() => proxy[Symbol.asyncDispose]());

  test("answers at once with a reference; the very next identical request has what was allowed once", async () => {
    const answer = await (await begin(proxy)).answered;
    const approval = await only(proxy);
    expect(answer.status).toBe(403);
    expect(answer.field("sallyport-reason")).toBe("approval-required");
    expect(answer.field("sallyport-approval")).toBe(approval.id);
    expect(answer.body).toContain(approval.id);
    await proxy.sallyport.control.decideApproval(APPROVER, approval.id, ONCE);
    expect((await (await begin(proxy, { path: "/made?" })).answered).status).toBe(403);
    const both = await Promise.all([begin(proxy), begin(proxy), begin(proxy)]);
    const statuses = await Promise.all(both.map(async ({ answered }) => (await answered).status));
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 403, 403]);
    expect(plain.received.match(/POST/g)).toHaveLength(1);
  });

  test("an exchange that was allowed once outlives what changes for others, not a deny rule", async () => {
    plain.behave((socket) =>
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello")),
    );
    await (
      await begin(proxy)
    ).answered;
    await proxy.sallyport.control.decideApproval(APPROVER, (await only(proxy)).id, ONCE);
    const { wire } = await begin(proxy);
    await wire.until(() => wire.all.endsWith("hello"));
    expect(await proxy.reconfigure(configuration())).toBe(true);
    await new Promise((resolve) => setImmediate(resolve));
    expect(wire.closed || wire.ended).toBe(false);
    expect(await proxy.reconfigure(configuration({ deny: "one.test" }))).toBe(true);
    await wire.close();
    plain.behave(answerRequests(() => OK));
  });
});
