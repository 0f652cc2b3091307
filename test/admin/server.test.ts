import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { Problem } from "../../src/admin/problem.ts";
import { type Admin, type AdminOptions, type Readiness, startAdmin } from "../../src/admin/server.ts";

const ready: Readiness = {
  draining: false,
  auditHealthy: true,
  storeHealthy: true,
  generation: 3,
  lastReload: { ok: true, at: Date.UTC(2026, 0, 2) },
};

const open: Admin[] = [];
const faults: unknown[] = [];
afterEach(async () => {
  for (const admin of open.splice(0)) await admin.close();
  faults.splice(0);
});

async function start(options: Partial<AdminOptions> = {}): Promise<Admin> {
  const admin = await startAdmin({
    listen: { host: "127.0.0.1", port: 0 },
    metrics: { contentType: "text/plain; version=0.0.4", exposition: () => Promise.resolve("up 1\n") },
    readiness: () => ready,
    api: () => Promise.reject(new Error("the API is not part of these tests")),
    callers: () => {
      throw new Problem("unauthenticated", "nobody is anybody here");
    },
    open: ["health", "metrics"],
    onFault: (error) => faults.push(error),
    ...options,
  });
  open.push(admin);
  return admin;
}

type Answer = { readonly status: number; readonly headers: Map<string, string>; readonly body: string };

async function dial(admin: Admin): Promise<Socket> {
  const socket = connect(admin.address.port, admin.address.host);
  await once(socket, "connect");
  socket.on("error", () => {});
  return socket;
}

/** Sends the octets and reads to the end of the connection. */
async function raw(admin: Admin, octets: string): Promise<string> {
  const socket = await dial(admin);
  let text = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => (text += chunk));
  socket.write(octets, "latin1");
  await once(socket, "close");
  return text;
}

async function ask(
  admin: Admin,
  request: { method?: string; path?: string; headers?: string[] },
): Promise<Answer> {
  const { method = "GET", path = "/healthz", headers = [`Host: 127.0.0.1:${admin.address.port}`] } = request;
  const text = await raw(
    admin,
    [`${method} ${path} HTTP/1.1`, ...headers, "Connection: close", "", ""].join("\r\n"),
  );
  const [head = "", ...body] = text.split("\r\n\r\n");
  const [line = "", ...fields] = head.split("\r\n");
  const pairs = fields.map((field) => [
    field.slice(0, field.indexOf(":")).toLowerCase(),
    field.slice(field.indexOf(":") + 2),
  ]);
  return {
    status: Number(line.split(" ")[1]),
    headers: new Map(pairs as [string, string][]),
    body: body.join("\r\n\r\n"),
  };
}

describe("what there is", () => {
  test("/metrics gives the exposition", async () => {
    const answer = await ask(await start(), { path: "/metrics?x=y" });
    expect([answer.status, answer.headers.get("content-type"), answer.body]).toEqual([
      200,
      "text/plain; version=0.0.4",
      "up 1\n",
    ]);
  });

  test("scrapes that come together share one rendering", async () => {
    let renderings = 0;
    const waiting = Promise.withResolvers<string>();
    const exposition = () => {
      renderings++;
      return waiting.promise;
    };
    const admin = await start({ metrics: { contentType: "text/plain", exposition } });
    const answers = [1, 2, 3].map(() => ask(admin, { path: "/metrics" }));
    // Connected and sent earlier, so read earlier, than this one is answered.
    for (const _ of [1, 2]) await ask(admin, {});
    waiting.resolve("up 1\n");
    expect((await Promise.all(answers)).map(({ body }) => body)).toEqual(["up 1\n", "up 1\n", "up 1\n"]);
    expect(renderings).toBe(1);
    await ask(admin, { path: "/metrics" });
    expect(renderings).toBe(2);
  });

  test("/healthz says ok, in no frame, cache or guess of its type", async () => {
    const answer = await ask(await start(), {});
    expect([answer.status, answer.body]).toEqual([200, "ok\n"]);
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect([...answer.headers.keys()].filter((name) => name.startsWith("access-control"))).toEqual([]);
    expect(answer.headers.has("x-powered-by")).toBe(false);
  });

  test("HEAD has the fields and no body", async () => {
    const answer = await ask(await start(), { method: "HEAD" });
    expect([answer.status, answer.headers.get("content-length"), answer.body]).toEqual([200, "3", ""]);
  });

  test.each([
    "/",
    "/metrics/",
    "/Metrics",
    "/%6detrics",
    "//metrics",
    "/../metrics",
    "http://127.0.0.1/metrics",
    "*",
  ])("%s is not there, with a list of what is", async (path) => {
    const answer = await ask(await start(), { path });
    // Node itself refuses `*` but with OPTIONS.
    if (path === "*") expect([400, 404]).toContain(answer.status);
    else expect([answer.status, answer.body.includes("/readyz")]).toEqual([404, true]);
  });
});

describe("/readyz", () => {
  test.each<[string, Partial<Readiness>, number]>([
    ["all is well", {}, 200],
    ["nothing was reloaded", { lastReload: undefined }, 200],
    ["generation 0 is one", { generation: 0 }, 200],
    [
      "the last reload was refused",
      { lastReload: { ok: false, at: 0, errors: ["sallyport.yaml:14:7 unknown key"] } },
      200,
    ],
    ["no snapshot yet", { generation: undefined }, 503],
    ["the audit log fails", { auditHealthy: false }, 503],
    ["draining", { draining: true }, 503],
    ["the store is lost, and what is known keeps serving", { storeHealthy: false }, 200],
    ["every worker serves", { workers: { configured: 2, ready: 2 } }, 200],
    ["one more while it takes another's place", { workers: { configured: 2, ready: 3 } }, 200],
    ["a worker is missing", { workers: { configured: 2, ready: 1 } }, 503],
  ])("%s", async (_name, change, status) => {
    const answer = await ask(await start({ readiness: () => ({ ...ready, ...change }) }), {
      path: "/readyz",
    });
    expect([answer.status, JSON.parse(answer.body).ready]).toEqual([status, status === 200]);
  });

  test("tells the whole state", async () => {
    const errors = Array.from({ length: 30 }, (_, n) => `sallyport.yaml:${n + 1}:1 unknown key "x"`);
    const state: Readiness = {
      draining: true,
      auditHealthy: false,
      storeHealthy: false,
      generation: undefined,
      lastReload: { ok: false, at: 0, errors },
    };
    const answer = await ask(await start({ readiness: () => state }), { path: "/readyz" });
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(JSON.parse(answer.body)).toEqual({
      ready: false,
      draining: true,
      audit: "failing",
      store: "failing",
      generation: null,
      last_reload: {
        ok: false,
        at: "1970-01-01T00:00:00.000Z",
        errors: errors.slice(0, 20),
        error_count: 30,
      },
    });
  });
});

describe("who is answered", () => {
  const own = (admin: Admin, host: string) => [`Host: ${host.replace("PORT", String(admin.address.port))}`];

  test.each([
    "127.0.0.1:PORT",
    "127.0.0.1",
    "localhost:PORT",
    "LocalHost",
    "[::1]:PORT",
    "metrics.corp.example",
    "Sallyport:80",
  ])("a Host of its own: %s", async (host) => {
    const admin = await start({ hosts: ["metrics.corp.example", "sallyport"] });
    expect((await ask(admin, { headers: own(admin, host) })).status).toBe(200);
  });

  test.each([
    "attacker.example",
    "attacker.example:PORT",
    "127.0.0.1.attacker.example",
    "localhost.attacker.example",
    "0.0.0.0:PORT",
    "127.1:PORT",
    "2130706433",
    "127.0.0.1@attacker.example",
    "x.metrics.corp.example",
    "192.0.2.1",
    "",
  ])("a foreign Host is not: %j", async (host) => {
    const admin = await start({ hosts: ["metrics.corp.example"] });
    const answer = await ask(admin, { path: "/metrics", headers: own(admin, host) });
    expect([answer.status, answer.headers.get("connection"), answer.body.includes("up 1")]).toEqual([
      421,
      "close",
      false,
    ]);
  });

  test("nor two Hosts, nor none", async () => {
    const admin = await start();
    const two = await ask(admin, { headers: ["Host: localhost", "Host: attacker.example"] });
    expect([400, 421]).toContain(two.status);
    expect((await ask(admin, { headers: [] })).status).toBe(400);
    expect(await raw(admin, "GET /metrics HTTP/1.0\r\n\r\n")).toMatch(/^HTTP\/1\.1 421 /);
  });

  test("a wildcard listener is known by the address that the connection came to", async () => {
    const admin = await start({ listen: { host: "0.0.0.0", port: 0 } });
    const reached = { ...admin, address: { ...admin.address, host: "127.0.0.2" } };
    expect((await ask(reached, { headers: ["Host: 127.0.0.2:1"] })).status).toBe(200);
    expect((await ask(reached, { headers: ["Host: 127.0.0.3:1"] })).status).toBe(421);
    expect((await ask(reached, { headers: ["Host: 0.0.0.0:1"] })).status).toBe(421);
  });

  test.each([
    ["Sec-Fetch-Site: cross-site", 403],
    ["Sec-Fetch-Site: same-site", 403],
    ["Sec-Fetch-Site: none", 200],
    ["Sec-Fetch-Site: same-origin", 200],
    ["Origin: null", 403],
    ["Origin: http://attacker.example", 403],
    ["Origin: http://localhost.attacker.example", 403],
    ["Origin: http://localhost", 200],
    ["Origin: https://localhost", 200],
  ])("%s: %i", async (field, status) => {
    expect((await ask(await start(), { headers: ["Host: localhost", field] })).status).toBe(status);
  });

  test.each(["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND"])(
    "%s is refused",
    async (method) => {
      const answer = await ask(await start(), { method, path: "/metrics" });
      expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    },
  );

  test.each(["Content-Length: 5", "Transfer-Encoding: chunked"])("no bodies: %s", async (field) => {
    expect((await ask(await start(), { headers: ["Host: localhost", field] })).status).toBe(413);
  });

  test.each([
    "CONNECT attacker.example:443 HTTP/1.1",
    "GET /metrics HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade",
  ])("nothing is proxied or upgraded: %s", async (head) => {
    expect(await raw(await start(), `${head}\r\nHost: localhost\r\n\r\n`)).toBe("");
  });
});

describe("what it withstands", () => {
  test.each([
    ["a head that is too large", `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}\r\n\r\n`],
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["a bare LF", "GET /metrics HTTP/1.1\nHost: localhost\n\n"],
    [
      "both lengths",
      "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
  ])("%s is answered with 400 and closed", async (_name, octets) => {
    expect(await raw(await start(), octets)).toMatch(/^HTTP\/1\.1 4\d\d [^]*\r\n\r\n/);
  });

  test("a failure is told to the log, not to the asker", async () => {
    const failure = new Error("secret path /var/lib/x");
    const admin = await start({
      metrics: { contentType: "text/plain", exposition: () => Promise.reject(failure) },
    });
    const answer = await ask(admin, { path: "/metrics" });
    expect([answer.status, answer.body]).toEqual([500, "Internal error; the proxy's log says more.\n"]);
    expect(faults).toEqual([failure]);
    const thrown = await ask(
      await start({
        readiness: () => {
          throw failure;
        },
      }),
      { path: "/readyz" },
    );
    expect([thrown.status, thrown.body.includes("secret")]).toEqual([500, false]);
  });

  test("connections past the bound are dropped, and the others still answered", async () => {
    const admin = await start();
    const first = await dial(admin);
    const sockets = await Promise.all(Array.from({ length: 63 }, () => dial(admin)));
    const dropped = await dial(admin);
    await once(dropped, "close");
    first.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(String((await once(first, "data"))[0])).toContain("200 OK");
    for (const socket of [first, ...sockets]) socket.destroy();
  });
});

describe("stopping", () => {
  test("answers what was asked, closes idle and silent connections, and frees the port", async () => {
    const waiting = Promise.withResolvers<string>();
    const asked = Promise.withResolvers<void>();
    const admin = await start({
      metrics: {
        contentType: "text/plain",
        exposition: () => {
          asked.resolve();
          return waiting.promise;
        },
      },
    });
    const idle = await dial(admin);
    idle.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(idle, "data");
    const silent = await dial(admin);
    silent.write("GET /met");
    const ends = Promise.all([once(idle, "close"), once(silent, "close")]);
    const answer = ask(admin, { path: "/metrics" });
    await asked.promise;
    const closed = admin.close();
    waiting.resolve("up 1\n");
    expect((await answer).body).toBe("up 1\n");
    await closed;
    await ends;
    const again = await start({ listen: admin.address });
    expect(again.address).toEqual(admin.address);
  });

  test("a port that is taken is an error", async () => {
    const admin = await start();
    await expect(start({ listen: admin.address })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});
