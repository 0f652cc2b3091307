// Budgets on every way in: what is counted, both sides of each boundary, and what the origin got when it was over.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { call, grpcService, message, type Service } from "../support/grpc.ts";
import { ask, http2Client } from "../support/http2.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { trustFile } from "../support/trust-file.ts";
import { type Answer, dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

const RUNTIME: Actor = { name: "token:runner", role: "runtime", from: "127.0.0.1:9" };
const AMPLE = "upload: 1GiB, download: 1GiB, requests: 1000000, connections: 1000, hosts: 1000";

let plain: RecordingOrigin;
let secure: RecordingOrigin;
let service: Service;
let proxy: RunningSallyport;
let yaml: (budgets: string) => string;
let sandboxes = 0;
let ca: string;

beforeAll(async () => {
  const authority = createCa();
  ca = authority.cert;
  const certificate = authority.issue({ names: ["one.test", "two.test", "spliced.test"] });
  plain = await recordingOrigin();
  secure = await recordingOrigin(certificate);
  service = await grpcService(certificate);
  const trust = await trustFile(authority);
  const names = ["one.test", "two.test", "spliced.test", "raw.test"];
  yaml = (budgets) => `
upstream: { trust: [${trust}], hosts: { ${names.map((name) => `${name}: [127.0.0.1]`).join(", ")} } }
limits: { drain: 1s }
anonymous: budgeted
policies:
  budgeted:
    preset: none
    methods: all
    allow: [${names.map((name) => `{ host: ${name}, networks: [127.0.0.0/8] }`).join(", ")}]
    splice: [spliced.test]
    tcp: [{ host: raw.test, ports: [${plain.port}], networks: [127.0.0.0/8] }]
    ${budgets === "" ? "" : `budgets: { ${budgets} }`}
`;
  proxy = await runSallyport(yaml(AMPLE));
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});
const tunnels: Wire[] = [];
afterEach(() => {
  for (const { socket } of tunnels.splice(0)) socket.destroy();
});
beforeEach(() => {
  for (const origin of [plain, secure]) {
    origin.reset();
    origin.behave(answerRequests(() => OK));
  }
});

type Sandbox = { readonly id: string; readonly secret: string; readonly fields: string };

/** A sandbox that has spent nothing, under these budgets. */
async function under(budgets: string): Promise<Sandbox> {
  expect(await proxy.reconfigure(yaml(budgets))).toBe(true);
  const { secret } = await proxy.sallyport.control.register(RUNTIME, {
    id: `box-${++sandboxes}`,
    policies: { setup: "budgeted", agent: "budgeted" },
    phase: "agent",
    labels: {},
  });
  const id = `box-${sandboxes}`;
  const basic = Buffer.from(`${id}:${secret}`).toString("base64");
  return { id, secret, fields: `Proxy-Authorization: Basic ${basic}\r\n` };
}

type Request = {
  readonly method?: string;
  readonly path?: string;
  readonly body?: string;
  readonly host?: string;
};

function requestText(
  { method = "GET", path = "/", body = "", host = "one.test" }: Request,
  port: number,
  prefix = "",
) {
  const authority = `${host}:${port}`;
  const length = body === "" ? "" : `Content-Length: ${body.length}\r\n`;
  return (fields: string): string =>
    `${method} ${prefix}${prefix === "" ? "" : authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${fields}${length}\r\n${body}`;
}

/** One request in absolute form, on a connection of its own. */
async function sendPlain(box: Sandbox, request: Request = {}): Promise<Answer> {
  await using wire = await dialPort(proxy.port);
  wire.write(requestText(request, plain.port, "http://")(box.fields));
  return await wire.answer(request.method);
}

/** The same inside an intercepted tunnel. */
async function sendIntercepted(box: Sandbox, request: Request = {}): Promise<Answer> {
  const { host = "one.test" } = request;
  const wire = await openTunnel({
    port: proxy.port,
    target: `${host}:${secure.port}`,
    headers: box.fields,
    tls: { servername: host, ca: proxy.trustAnchor },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  wire.write(requestText(request, secure.port)(""));
  const answer = await wire.answer(request.method);
  wire.socket.destroy();
  return answer;
}

/** Over HTTP/2, from the sandbox to the proxy. */
async function sendHttp2(
  box: Sandbox,
  { method = "GET", path = "/", body = "", host = "one.test" }: Request = {},
): Promise<{
  status: number;
  field(name: string): string | undefined;
}> {
  using client = await http2Client(proxy.port, {
    authority: `${host}:${secure.port}`,
    trustAnchor: proxy.trustAnchor,
    headers: box.fields,
  });
  const answer = await ask(
    client.session,
    { ":method": method, ":path": path },
    body === "" ? undefined : body,
  );
  const headers = answer.headers as Record<string, string | undefined>;
  return {
    status: Number(headers[":status"]),
    field: (name) => headers[name],
  };
}

async function spentOf(box: Sandbox, budget: string): Promise<number> {
  const views = await proxy.sallyport.control.budgets(box.id);
  return views.find(({ name, host }) => name === budget && host === undefined)?.spent ?? -1;
}

/** What was counted, whoever spent it. */
async function counted(budget: string): Promise<number> {
  return Number(
    new RegExp(`^sallyport_budget_spent_total\\{budget="${budget}"\\} (\\d+)`, "m").exec(
      await proxy.metrics(),
    )?.[1],
  );
}

/** What `work` costs of a budget. */
async function costOf(budget: string, work: (box: Sandbox) => Promise<unknown>): Promise<number> {
  const box = await under(AMPLE);
  const before = await counted(budget);
  await work(box);
  return (await counted(budget)) - before;
}

const HTTP_WAYS = [
  { way: "plain", send: sendPlain, origin: () => plain },
  { way: "intercepted", send: sendIntercepted, origin: () => secure },
  { way: "h2", send: sendHttp2, origin: () => secure },
];

describe.each(HTTP_WAYS)("HTTP, $way", ({ send, origin }) => {
  test("an upload budget lets its last octet pass, and not one more", async () => {
    const cost = await costOf("upload", (box) => send(box, { method: "POST", body: "x".repeat(500) }));
    expect(cost).toBeGreaterThan(500);
    const enough = await under(`upload: ${cost}B`);
    expect((await send(enough, { method: "POST", body: "x".repeat(500) })).status).toBe(200);
    expect(await spentOf(enough, "upload")).toBe(cost);

    origin().reset();
    const short = await under(`upload: ${cost - 1}B`);
    const refused = await send(short, { method: "POST", body: "x".repeat(500) });
    expect(refused.status).toBe(429);
    expect(refused.field("sallyport-reason")).toBe("budget-spent");
    expect(refused.field("retry-after")).toBe("3600");
    const body = origin().received.split("\r\n\r\n").slice(1).join("");
    expect(body.length).toBeLessThan(500);
  });

  test("a query string is an upload, and what is refused leaves nothing", async () => {
    const short = await costOf("upload", (box) => send(box));
    const long = await costOf("upload", (box) => send(box, { path: `/?secret=${"s".repeat(300)}` }));
    expect(long - short).toBe(308);
    origin().reset();
    const box = await under(`upload: ${long - 1}B`);
    expect((await send(box, { path: `/?secret=${"s".repeat(300)}` })).status).toBe(429);
    expect(origin().connections).toBe(0);
    // What is left of it still serves what fits.
    expect((await send(box)).status).toBe(200);
  });

  test("a download budget cuts the answer, and the next request is refused before it leaves", async () => {
    const big = `HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n${"y".repeat(5000)}`;
    origin().behave(answerRequests(() => big));
    const cost = await costOf("download", (box) => send(box));
    expect(cost).toBeGreaterThan(5000);
    expect((await send(await under(`download: ${cost}B`))).status).toBe(200);
    const box = await under(`download: ${cost - 1}B`);
    // Cut: the connection, or the stream.
    await send(box).then(
      (answer) => expect("body" in answer ? answer.body.length : 0).toBeLessThan(5000),
      (error: unknown) => expect(error).toBeInstanceOf(Error),
    );
    origin().reset();
    await proxy.recorded(settled);
    const refused = await send(box);
    expect([refused.status, refused.field("sallyport-reason")]).toEqual([429, "budget-spent"]);
    expect(origin().connections).toBe(0);
    const cut = exchanges(await proxy.records()).findLast(
      ({ decision, completion }) =>
        decision["sandbox"] === box.id &&
        decision["verdict"] === "allow" &&
        completion?.["status"] === 200 &&
        decision["kind"] === "request",
    );
    expect(cut?.completion).toMatchObject({ outcome: "refused", reason: "budget-spent" });
  });

  test("requests are counted for a time; the answer says when it begins anew", async () => {
    const box = await under("requests: 2/hour");
    expect((await send(box)).status).toBe(200);
    expect((await send(box)).status).toBe(200);
    const refused = await send(box);
    expect(refused.status).toBe(429);
    const seconds = Number(refused.field("retry-after"));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(3600);
    const [last] = exchanges(await proxy.recorded(settled)).slice(-1);
    expect(last?.decision).toMatchObject({
      verdict: "deny",
      reason: "budget-spent",
      rule: { id: "budget:requests" },
    });
  });

  test("hosts: those that are known go on, no other is even looked up", async () => {
    const box = await under("hosts: 1");
    expect((await send(box)).status).toBe(200);
    expect((await send(box, { host: "two.test" })).status).toBe(429);
    expect((await send(box)).status).toBe(200);
  });

  test("per_host: for those hosts alone", async () => {
    const box = await under('per_host: { "one.test": { requests: 1 } }');
    expect((await send(box)).status).toBe(200);
    expect((await send(box)).status).toBe(429);
    expect((await send(box, { host: "two.test" })).status).toBe(200);
  });
});

test("connections: one that is held, none beside it, and another after it", async () => {
  const box = await under("connections: 1");
  plain.behave(() => {});
  const held = await dialPort(proxy.port);
  held.write(requestText({}, plain.port, "http://")(box.fields));
  await plain.arrived((received) => received.includes("\r\n\r\n"));
  const refused = await sendPlain(box);
  expect([refused.status, refused.field("retry-after")]).toEqual([429, "1"]);
  held.socket.resetAndDestroy();
  await proxy.recorded(settled);
  plain.behave(answerRequests(() => OK));
  expect((await sendPlain(box)).status).toBe(200);
});

test("interim answers are paid for, or left out", async () => {
  plain.behave(answerRequests(() => `HTTP/1.1 103 Early Hints\r\nLink: <${"z".repeat(2000)}>\r\n\r\n${OK}`));
  const box = await under("download: 1000B");
  const answer = await sendPlain(box);
  expect(answer.head).not.toContain("zzz");
});

/** A tunnel whose octets nobody reads; `undefined`: it was refused. */
async function tunnelTo(
  box: Sandbox,
  way: "CONNECT" | "SOCKS5",
  host = "raw.test",
): Promise<Wire | undefined> {
  const wire = await dialPort(proxy.port);
  tunnels.push(wire);
  const { port } = host === "raw.test" ? plain : secure;
  if (way === "SOCKS5") {
    const code = await socks5(wire, { host, port, credentials: `${box.id}:${box.secret}` });
    return code === 0 ? wire : undefined;
  }
  wire.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n${box.fields}\r\n`);
  return (await wire.answer("CONNECT")).status === 200 ? wire : undefined;
}

describe.each(["CONNECT", "SOCKS5"] as const)("a raw tunnel by %s", (way) => {
  test("upload: exactly the budget arrives, then it is cut, and none is opened again", async () => {
    plain.behave(() => {});
    const box = await under("upload: 1000B");
    const wire = await tunnelTo(box, way);
    wire?.write("a".repeat(600));
    await plain.arrived((received) => received.length === 600);
    wire?.write("b".repeat(400));
    await plain.arrived((received) => received.length === 1000);
    expect(wire?.ended).toBe(false);
    wire?.write("c");
    await wire?.rest();
    expect(plain.received).toBe("a".repeat(600) + "b".repeat(400));
    expect(await tunnelTo(box, way)).toBeUndefined();
  });

  test("download: no more than the budget comes back", async () => {
    plain.behave((socket) => void socket.write("d".repeat(70_000)));
    const box = await under("download: 50000B");
    const wire = await tunnelTo(box, way);
    await wire?.rest();
    expect(wire?.all.match(/d{2,}/)?.[0].length ?? 0).toBeLessThanOrEqual(50_000);
    await proxy.recorded(settled);
    const last = exchanges(await proxy.records()).findLast(({ decision }) => decision["sandbox"] === box.id);
    expect(last?.completion).toMatchObject({
      outcome: "refused",
      reason: "budget-spent",
      bytesDown: expect.any(Number),
    });
  });

  test("requests and connections: an unread tunnel is one of each", async () => {
    plain.behave(() => {});
    const one = await under("connections: 1");
    const open = await tunnelTo(one, way);
    expect(open).toBeInstanceOf(Wire);
    expect(await tunnelTo(one, way)).toBeUndefined();
    open?.socket.destroy();
    await proxy.recorded(settled);
    expect(await tunnelTo(one, way)).toBeInstanceOf(Wire);
    const once = await under("requests: 1");
    expect(await tunnelTo(once, way)).toBeInstanceOf(Wire);
    expect(await tunnelTo(once, way)).toBeUndefined();
  });
});

test("a spliced tunnel pays for its TLS, and is cut", async () => {
  const tls = { servername: "spliced.test", ca };
  const open = (box: Sandbox) =>
    openTunnel({ port: proxy.port, target: `spliced.test:${secure.port}`, headers: box.fields, tls });
  const box = await under("upload: 64KiB");
  const wire = await open(box);
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  expect(await spentOf(box, "upload")).toBeGreaterThan(200);
  wire.socket.destroy();
  const small = await under("upload: 100B");
  expect(await open(small)).toBeInstanceOf(Error);
  const all = await proxy.recorded(settled);
  const last = exchanges(all).findLast(({ decision }) => decision["sandbox"] === small.id);
  expect(last?.completion).toMatchObject({ reason: "budget-spent", bytesUp: 100 });
});

test("a WebSocket pays for its request and for what it carries, both ways", async () => {
  const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  plain.behave((socket) => {
    socket.once("data", () => {
      socket.write(switching);
      socket.on("data", (chunk: Buffer) => socket.write(chunk));
    });
  });
  const upgrade = async (box: Sandbox): Promise<Wire> => {
    const wire = await dialPort(proxy.port);
    wire.write(
      requestText({}, plain.port, "http://")(`${box.fields}Connection: Upgrade\r\nUpgrade: websocket\r\n`),
    );
    expect(await wire.head()).toMatch(/^HTTP\/1\.1 101 /);
    return wire;
  };
  const cost = await costOf("upload", async (box) => void (await upgrade(box)).socket.destroy());
  plain.reset();
  const box = await under(`upload: ${cost + 100}B`);
  const wire = await upgrade(box);
  wire.write("w".repeat(100));
  await wire.until(() => wire.held.length === 100);
  expect(wire.held).toBe("w".repeat(100));
  wire.write("!");
  await wire.rest();
  expect(plain.received).not.toContain("!");
});

test("gRPC is told RESOURCE_EXHAUSTED, and when to come again", async () => {
  const box = await under("requests: 1/day");
  using client = await http2Client(proxy.port, {
    authority: `one.test:${service.port}`,
    trustAnchor: proxy.trustAnchor,
    headers: box.fields,
  });
  const first = call(client.session, "Unary");
  first.stream.end(message("order"));
  expect(await first.end).toMatchObject({ code: 0 });
  const second = call(client.session, "Unary");
  second.stream.end(message("order"));
  expect(await second.head).toMatchObject({
    ":status": 200,
    "grpc-status": "8",
    "retry-after": expect.stringMatching(/^\d+$/),
    "sallyport-reason": "budget-spent",
  });
});

describe("what changes while it runs", () => {
  test("a tunnel that nothing was counted of ends as its policy gets budgets; one that is counted goes on by the new limit", async () => {
    plain.behave(() => {});
    const box = await under("");
    const uncounted = await tunnelTo(box, "CONNECT");
    expect(await proxy.reconfigure(yaml("upload: 1000B"))).toBe(true);
    await uncounted?.rest();
    const counts = await tunnelTo(box, "CONNECT");
    counts?.write("e".repeat(900));
    await plain.arrived((received) => received.length === 900);
    expect(await proxy.reconfigure(yaml("upload: 2000B"))).toBe(true);
    counts?.write("e".repeat(1100));
    await plain.arrived((received) => received.length === 2000);
    counts?.write("e");
    await counts?.rest();
    expect(plain.received.length).toBe(2000);
  });

  test("what is spent stays spent; an operator who raises the limit gives the difference", async () => {
    const box = await under("requests: 1");
    expect((await sendPlain(box)).status).toBe(200);
    expect((await sendPlain(box)).status).toBe(429);
    expect(await proxy.reconfigure(yaml("requests: 2"))).toBe(true);
    expect((await sendPlain(box)).status).toBe(200);
    expect((await sendPlain(box)).status).toBe(429);
  });

  test("whoever has no name draws on what is their policy's", async () => {
    await under("requests: 1");
    const nobody: Sandbox = { id: "", secret: "", fields: "" };
    expect((await sendPlain(nobody)).status).toBe(200);
    expect((await sendPlain(nobody)).status).toBe(429);
  });

  test("budgets are shown with what is spent of them", async () => {
    const box = await under('upload: 1MiB, requests: 10/hour, per_host: { "*.test": { download: 1KiB } }');
    await sendPlain(box);
    const hour = 3_600_000;
    const renews = Math.ceil(Date.now() / hour) * hour;
    expect(await proxy.sallyport.control.budgets(box.id)).toMatchObject([
      { name: "upload", host: undefined, limit: 2 ** 20, spent: expect.any(Number), renews: undefined },
      { name: "requests", host: undefined, limit: 10, spent: 1, renews },
      { name: "download", host: "*.test", limit: 1024, renews: undefined },
    ]);
    await expect(proxy.sallyport.control.budgets("nobody")).rejects.toMatchObject({ problem: "not-found" });
  });
});
