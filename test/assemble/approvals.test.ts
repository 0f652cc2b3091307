// Approvals through whole proxies: by one process and by several, over HTTP/1.1, HTTP/2 and gRPC; a rule written for always, and
// the webhook told.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Actor, ApprovalView, Decision } from "../../src/registry/types.ts";
import { dialPort, type Wire } from "../proxy/wire.ts";
import { answerOf, http2Client } from "../support/http2.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { twoOrigins } from "../support/two-origins.ts";

const APPROVER: Actor = { name: "token:ada", role: "approver", from: "127.0.0.1:9" };
const RUNTIME: Actor = { name: "token:runner", role: "runtime", from: "127.0.0.1:9" };
const ONCE: Decision = { action: "allow", scope: "once", reason: "looked at it" };

const { ca, plain, secure, upstream } = await twoOrigins(["one.test"]);

function configuration(more = ""): string {
  return `${more}
${upstream}
limits: { drain: 1s }
policies:
  # ours
  asking:
    preset: none
    ask: wait
    allow:
      - { host: one.test, networks: [127.0.0.0/8], methods: [GET], paths: [/open] }
  closed: { preset: none }
http2: always
sandboxes: [{ id: filed, secret: its-own-secret-of-24-char, policy: asking }]
`;
}

const basic = (id: string, secret: string): string =>
  `Proxy-Authorization: Basic ${Buffer.from(`${id}:${secret}`).toString("base64")}\r\n`;
const FILED = basic("filed", "its-own-secret-of-24-char");

async function begin(proxy: RunningSallyport, path: string, credentials = FILED): Promise<Wire> {
  const wire = await dialPort(proxy.port);
  const authority = `one.test:${plain.port}`;
  wire.write(`GET http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${credentials}\r\n`);
  return wire;
}

async function asked(proxy: RunningSallyport, enough: (all: readonly ApprovalView[]) => boolean) {
  const pending = (): readonly ApprovalView[] =>
    proxy.sallyport.control.approvals().filter(({ state }) => state === "pending");
  for (let tries = 0; !enough(pending()) && tries < 500; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10));
  expect(enough(pending())).toBe(true);
  return pending();
}

describe.each([
  { name: "one process", more: "" },
  { name: "two workers", more: "workers: 2" },
])("$name", ({ more }) => {
  let proxy: RunningSallyport;
  beforeAll(async () => {
    proxy = await runSallyport(configuration(more));
  }, 60_000);
  afterAll(() => proxy[Symbol.asyncDispose]());

  test("one decision lets all that wait pass, wherever they wait, and nobody after them", async () => {
    const path = "/many";
    const wires = await Promise.all(Array.from({ length: 8 }, () => begin(proxy, path)));
    const [approval] = await asked(proxy, ([one]) => one?.requests === 8);
    expect(plain.connections).toBe(0);
    await proxy.sallyport.control.decideApproval(APPROVER, approval?.id ?? "", ONCE);
    for (const wire of wires) {
      expect((await wire.answer()).status).toBe(200);
      wire.socket.destroy();
    }
    await using next = await begin(proxy, path);
    const [other] = await asked(proxy, (all) => all.length === 1);
    expect(other?.id).not.toBe(approval?.id);
    await proxy.sallyport.control.decideApproval(APPROVER, other?.id ?? "", { action: "deny", reason: "no" });
    expect((await next.answer()).field("sallyport-reason")).toBe("approval-denied");
    expect(plain.received.match(/GET/g)).toHaveLength(8);
  });

  test("for the sandbox, what waits goes on and what comes later passes, in every process, until it ends", async () => {
    const { control } = proxy.sallyport;
    const registration = {
      policies: { setup: "asking", agent: "asking" },
      phase: "agent",
      labels: {},
    } as const;
    const { sandbox, secret } = await control.register(RUNTIME, registration);
    const credentials = basic(sandbox.id, secret);
    await using first = await begin(proxy, "/mine", credentials);
    const [approval] = await asked(proxy, (all) => all.length === 1);
    const decision = { action: "allow", scope: "sandbox", reason: "its work" } as const;
    await control.decideApproval(APPROVER, approval?.id ?? "", decision);
    expect((await first.answer()).status).toBe(200);
    for (let turn = 0; turn < 6; turn++) {
      await using wire = await begin(proxy, "/mine", credentials);
      expect((await wire.answer()).status).toBe(200);
    }
    await using another = await begin(proxy, "/mine");
    await asked(proxy, (all) => all.length === 1 && all[0]?.sandbox === "filed");
    await control.end(RUNTIME, sandbox.id, "done");
    expect(control.grants()).toEqual([]);
    another.socket.destroy();
  });

  test("over HTTP/2, each stream waits by itself; gRPC is told by a status", async () => {
    const { control } = proxy.sallyport;
    const authority = `one.test:${secure.port}`;
    const trustAnchor = proxy.trustAnchor;
    using client = await http2Client(proxy.port, { authority, trustAnchor, headers: FILED });
    const held = client.session.request({ ":method": "GET", ":path": "/held" });
    const open = client.session.request({ ":method": "GET", ":path": "/open" });
    const call = client.session.request({
      ":method": "POST",
      ":path": "/shop.Orders/Place",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const answers = [held, open, call].map((stream) => answerOf(stream));
    call.end(Buffer.alloc(5));
    const all = await asked(
      proxy,
      (all) => all.some(({ path }) => path === "/held") && all.some(({ method }) => method === "POST"),
    );
    expect((await answers[1])?.status).toBe(200);
    const idOf = (path: string): string => all.find((one) => one.path === path)?.id ?? "";
    await control.decideApproval(APPROVER, idOf("/held"), ONCE);
    expect((await answers[0])?.status).toBe(200);
    await control.decideApproval(APPROVER, idOf("/shop.Orders/Place"), { action: "deny", reason: "no" });
    const refused = await answers[2];
    expect(refused?.headers).toMatchObject({ "grpc-status": "7", "sallyport-reason": "approval-denied" });
    expect(refused?.headers["grpc-message"]).toContain(`approval ${idOf("/shop.Orders/Place")}`);
    expect(secure.received).not.toContain("shop.Orders");
  });

  test("always, the rule stands in the file with its reason and whose it is, and lets the next one pass", async () => {
    const { control } = proxy.sallyport;
    await using wire = await begin(proxy, "/always");
    const all = await asked(proxy, (all) => all.some(({ path }) => path === "/always"));
    const id = all.find(({ path }) => path === "/always")?.id ?? "";
    await control.decideApproval(APPROVER, id, { action: "allow", scope: "always", reason: "our own page" });
    expect((await wire.answer()).status).toBe(200);
    const text = await readFile(join(proxy.directory, "sallyport.yaml"), "utf8");
    expect(text).toMatch(
      new RegExp(
        `  # ours\\n[^]*\\n      # ${id}: approved by token:ada, 20.*Z\\n      - \\{ host: one.test, ports: \\[ ${plain.port} \\], methods: \\[ GET \\], paths: \\[ /always \\], reason: our own page \\}\\n`,
      ),
    );
    await using next = await begin(proxy, "/always");
    expect((await next.answer()).status).toBe(200);
    await using near = await begin(proxy, "/always/not");
    await asked(proxy, (all) => all.some(({ path }) => path === "/always/not"));
    near.socket.destroy();
  });
});

test("the webhook is told of what is asked for the first time, and of nothing else", async () => {
  const { chain, key } = ca.issue({ names: ["127.0.0.1"] });
  const told: string[] = [];
  const server = createServer({ cert: chain, key }, (request, response) => {
    request.setEncoding("utf8").on("data", (chunk: string) => void told.push(chunk));
    request.on("end", () => response.writeHead(204).end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const webhook = `approvals: { webhook: { url: "https://127.0.0.1:${port}/", secret: "0123456789abcdef" } }`;
  await using proxy = await runSallyport(configuration(webhook));
  const wires = [await begin(proxy, "/told"), await begin(proxy, "/told")];
  const [approval] = await asked(proxy, ([one]) => one?.requests === 2);
  for (let tries = 0; !(await proxy.metrics()).includes('deliveries_total{outcome="delivered"} 1'); tries++) {
    expect(tries).toBeLessThan(500);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(told).toHaveLength(1);
  expect(JSON.parse(told[0] ?? "")).toMatchObject({ approval: { id: approval?.id, path: "/told" } });
  for (const wire of wires) wire.socket.destroy();
  server.close();
});
