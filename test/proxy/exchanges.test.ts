// How requests and answers pass in time: expectations, refusals in the middle of an upload, early answers, disconnects on
// either side, connections that turn out stale, and bodies that nobody reads.

import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { createServer as createSecureServer } from "node:https";
import { createCa, type Issued } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { trustFile } from "../support/trust-file.ts";

let ca: Issued;
let origin: RecordingOrigin;
let proxy: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  ca = createCa();
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
limits: { drain: 1s, response_head: 7s, body_idle: 2s }
policies:
  default:
    preset: none
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, { host: fetch.test, methods: [GET] }]
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  // Another port each time: no test finds the idle connections of another.
  origin = await recordingOrigin();
  origin.behave(answerRequests(() => OK.replace("\r\n", "\r\nConnection: close\r\n")));
});

afterEach(() => origin[Symbol.asyncDispose]());

const authority = (): string => `origin.test:${origin.port}`;
const head = (method: string, fields = "", path = "/"): string =>
  `${method} http://${authority()}${path} HTTP/1.1\r\nHost: ${authority()}\r\n${fields}\r\n`;
const onlyOne = async () => {
  const found = exchanges(
    (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded),
  );
  expect(found).toHaveLength(1);
  return found[0]!;
};

describe("Expect: 100-continue", () => {
  test("is forwarded, and the origin's 100 relayed", async () => {
    const reached = origin.asked();
    await using wire = await dialPort(proxy.port);
    wire.write(head("POST", "Expect: 100-continue\r\nContent-Length: 4\r\n"));
    const socket = await reached;
    expect(origin.received).toContain("Expect: 100-continue");
    socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    expect(await wire.head()).toMatch(/^HTTP\/1.1 100/);
    wire.write("abcd");
    await origin.arrived((all) => all.endsWith("abcd"));
    socket.write(OK);
    expect((await wire.answer()).status).toBe(200);
    expect(wire.socket.destroyed).toBe(false);
  });

  test("answered by a final status: the body is not waited for, and never read as a request", async () => {
    const reached = origin.asked();
    await using wire = await dialPort(proxy.port);
    wire.write(head("POST", "Expect: 100-continue\r\nContent-Length: 200\r\n"));
    (await reached).write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
    const answer = await wire.answer();
    expect(answer.status).toBe(413);
    expect(answer.field("connection")).toBe("close");
    wire.write(head("GET", "", "/smuggled"));
    expect(await wire.rest()).toBe("");
    expect(origin.received).not.toContain("smuggled");
    await onlyOne();
  });

  test("refused: as readable, and as closed", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(
      "POST http://fetch.test/ HTTP/1.1\r\nHost: fetch.test\r\nExpect: 100-continue\r\nContent-Length: 99\r\n\r\n",
    );
    const answer = await wire.answer();
    expect(answer.status).toBe(403);
    expect(answer.field("connection")).toBe("close");
    expect(await wire.rest()).toBe("");
  });
});

describe("an upload that is refused", () => {
  test.each([
    { name: "small, read away", octets: 100_000, connection: undefined },
    { name: "large", octets: 20_000_000, connection: "close" },
  ])("$name: readable by a client that sends all before it reads", async ({ octets, connection }) => {
    await using wire = await dialPort(proxy.port);
    wire.socket.pause();
    wire.write(`POST http://fetch.test/ HTTP/1.1\r\nHost: fetch.test\r\nContent-Length: ${octets}\r\n\r\n`);
    const chunk = Buffer.alloc(100_000, "a");
    for (let sent = 0; sent < octets; sent += chunk.length) {
      if (!wire.socket.write(chunk)) await once(wire.socket, "drain");
    }
    wire.socket.resume();
    const answer = await wire.answer();
    expect(answer.status).toBe(403);
    expect(answer.field("connection")).toBe(connection);
    if (connection === undefined) {
      expect((await wire.write(head("GET")).answer()).status).toBe(200);
    }
  });

  test("chunked and endless: answered, then closed", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write("POST http://fetch.test/ HTTP/1.1\r\nHost: fetch.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    expect((await wire.answer()).status).toBe(403);
    const chunk = Buffer.concat([Buffer.from("10000\r\n"), Buffer.alloc(65_536, "a"), Buffer.from("\r\n")]);
    const pump = setInterval(() => wire.socket.write(chunk), 5);
    await wire.until(() => false);
    clearInterval(pump);
    expect(wire.held).toBe("");
  });
});

describe("an answer that comes while the request is still sent", () => {
  test("is relayed; the connections on both sides end with it", async () => {
    const reached = origin.asked();
    await using wire = await dialPort(proxy.port);
    wire.write(`${head("POST", "Content-Length: 1000000\r\n")}abc`);
    (await reached).write("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno");
    const answer = await wire.answer();
    expect([answer.status, answer.body]).toEqual([409, "no"]);
    expect(answer.field("connection")).toBe("close");
    await (async () => once(await reached, "close"))();
    const { completion } = await onlyOne();
    expect(completion).toMatchObject({ outcome: "completed", status: 409 });
  });

  test("streams beside the request where the origin does so", async () => {
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        socket.on("data", (chunk: Buffer) => socket.write(`${chunk.length.toString(16)}\r\n${chunk}\r\n`));
      });
    });
    await using wire = await dialPort(proxy.port);
    wire.write(head("POST", "Transfer-Encoding: chunked\r\n"));
    await wire.head();
    wire.write("5\r\nhello\r\n");
    await wire.until(() => wire.held.includes("hello"));
    expect(wire.held).toContain("hello");
  });
});

describe("a sandbox that goes away", () => {
  test("while the origin thinks: the origin's connection is closed, and that is recorded", async () => {
    const reached = origin.asked();
    const wire = await dialPort(proxy.port);
    wire.write(head("GET"));
    const socket = await reached;
    const closed = once(socket, "close");
    wire.socket.resetAndDestroy();
    await closed;
    const { decision, completion } = await onlyOne();
    expect(decision["verdict"]).toBe("allow");
    expect(completion).toMatchObject({ outcome: "aborted" });
  });

  test("in order, while the origin thinks: after some seconds", async () => {
    const reached = origin.asked();
    const wire = await dialPort(proxy.port);
    wire.write(head("GET"));
    const closed = once(await reached, "close");
    wire.socket.destroy();
    await closed;
    expect((await onlyOne()).completion).toMatchObject({ outcome: "aborted" });
  });

  test("in the middle of its body: the origin sees it cut", async () => {
    const wire = await dialPort(proxy.port);
    wire.write(`${head("POST", "Transfer-Encoding: chunked\r\n")}5\r\nhello\r\n`);
    let ended: Promise<unknown> = Promise.resolve();
    origin.behave((socket) => {
      ended = once(socket, "close");
    });
    await origin.arrived((all) => all.includes("hello"));
    wire.socket.end();
    await ended;
    expect(origin.received).not.toMatch(/\r\n0\r\n\r\n$/);
    expect((await onlyOne()).completion).toMatchObject({ outcome: "aborted" });
    await wire[Symbol.asyncDispose]();
  });

  test("in the middle of the answer", async () => {
    const reached = origin.asked();
    const wire = await dialPort(proxy.port);
    wire.write(head("GET"));
    const socket = await reached;
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const closed = once(socket, "close");
    await wire.head();
    wire.socket.destroy();
    const pump = setInterval(() => socket.write(Buffer.alloc(10_000)), 5);
    await closed;
    clearInterval(pump);
    expect((await onlyOne()).completion).toMatchObject({ outcome: "aborted", status: 200 });
  });

  test("before anything was decided: recorded all the same, once", async () => {
    for (let i = 0; i < 20; i++) {
      const wire = await dialPort(proxy.port);
      wire.write(head("GET"));
      // At another moment each time: before the record, the dial, the answer.
      for (let turns = 0; turns < i; turns++) await new Promise(setImmediate);
      wire.socket.resetAndDestroy();
    }
    const records = await proxy.recorded(
      (all) => settled(all) && exchanges(all.slice(recorded)).length >= 10,
    );
    for (const { completions } of exchanges(records)) expect(completions).toBe(1);
  });

  test("half: it still gets the answers to what it asked", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(head("GET", "", "/1") + head("GET", "", "/2") + head("GET", "", "/3"));
    wire.socket.end();
    expect((await wire.rest()).match(/^HTTP\/1.1 \d+/gm)).toEqual(Array(3).fill("HTTP/1.1 200"));
    expect(origin.received.match(/^GET \S+/gm)).toEqual(["GET /1", "GET /2", "GET /3"]);
  });
});

describe("connections to the origin", () => {
  /** Answers the first request, then closes on the next without a word. */
  const stale = (socket: Socket): void => {
    socket.once("data", () => {
      socket.write(OK);
      socket.once("data", () => socket.destroy());
    });
  };

  test("are used again", async () => {
    origin.behave(answerRequests(() => OK));
    await using wire = await dialPort(proxy.port);
    for (let i = 0; i < 3; i++) expect((await wire.write(head("GET")).answer()).status).toBe(200);
    expect(origin.connections).toBe(1);
  });

  test("that turn out stale are replaced, once, for a GET", async () => {
    origin.behave(stale);
    await using wire = await dialPort(proxy.port);
    expect((await wire.write(head("GET", "", "/1")).answer()).status).toBe(200);
    expect((await wire.write(head("GET", "", "/2")).answer()).status).toBe(200);
    expect(origin.received.match(/^GET \S+/gm)).toEqual(["GET /1", "GET /2", "GET /2"]);
    expect(origin.connections).toBe(2);
    const found = exchanges((await proxy.recorded(settled)).slice(recorded));
    expect(found).toHaveLength(2);
    // Both copies of what left are in its account.
    expect(Number(found[1]?.completion?.["bytesUp"])).toBe(2 * Number(found[0]?.completion?.["bytesUp"]));
  });

  test.each([
    { method: "POST", fields: "Content-Length: 1\r\n", body: "x" },
    { method: "POST", fields: "", body: "" },
    { method: "GET", fields: "Content-Length: 1\r\n", body: "x" },
    { method: "DELETE", fields: "", body: "" },
  ])("that turn out stale are not replaced for $method $fields", async ({ method, fields, body }) => {
    origin.behave(stale);
    await using wire = await dialPort(proxy.port);
    await wire.write(head("GET", "", "/1")).answer();
    const answer = await wire.write(head(method, fields, "/2") + body).answer();
    expect(answer.field("sallyport-reason")).toBe("upstream-reset");
    expect(origin.received.match(/^[A-Z]+ \/2/gm)).toHaveLength(1);
  });

  test("that answered at all are not asked twice", async () => {
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write(OK);
        socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nConte"));
      });
    });
    await using wire = await dialPort(proxy.port);
    await wire.write(head("GET", "", "/1")).answer();
    expect((await wire.write(head("GET", "", "/2")).answer()).status).toBe(502);
    expect(origin.received.match(/^GET \/2/gm)).toHaveLength(1);
  });

  test("are given back where the sandbox left before they were used", async () => {
    origin.behave(answerRequests(() => OK));
    for (let i = 0; i < 5; i++) {
      await using wire = await dialPort(proxy.port);
      await wire.write(head("GET")).answer();
      wire.write(head("GET"));
      await new Promise(setImmediate);
      wire.socket.resetAndDestroy();
    }
    await proxy.recorded(settled);
    const open = /upstream_connections_open(?:\{[^}]*\})? (\d+)/.exec(await proxy.metrics())?.[1];
    if (open !== undefined) expect(Number(open)).toBeLessThan(3);
  });
});

describe("a body that nobody reads stays where it is", () => {
  const BODY = 256 * 1024 * 1024;
  const BOUND = 24 * 1024 * 1024;

  test("downstream: the origin cannot send on", async () => {
    let sent = 0;
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY}\r\n\r\n`);
        const chunk = Buffer.alloc(65_536);
        const pump = (): void => {
          while (sent < BODY && !socket.destroyed) {
            sent += chunk.length;
            if (!socket.write(chunk)) return void socket.once("drain", pump);
          }
        };
        pump();
      });
    });
    await using wire = await dialPort(proxy.port);
    const before = process.memoryUsage();
    wire.write(head("GET"));
    await wire.head();
    wire.socket.pause();
    await steady(() => sent);
    // The rest is in the kernel's buffers of two connections.
    expect(sent).toBeLessThan(BOUND);
    const after = process.memoryUsage();
    expect(after.external + after.arrayBuffers - before.external - before.arrayBuffers).toBeLessThan(
      16 * 1024 * 1024,
    );
  });

  test("upstream: the sandbox cannot send on", async () => {
    origin.behave((socket) => void socket.once("data", () => socket.pause()));
    await using wire = await dialPort(proxy.port);
    wire.write(head("POST", `Content-Length: ${BODY}\r\n`));
    let sent = 0;
    const chunk = Buffer.alloc(65_536);
    const pump = (): void => {
      while (sent < BODY && !wire.socket.destroyed) {
        sent += chunk.length;
        if (!wire.socket.write(chunk)) return void wire.socket.once("drain", pump);
      }
    };
    pump();
    await steady(() => sent);
    expect(sent).toBeLessThan(BOUND);
  });

  test("a pipeline whose answers nobody reads", async () => {
    await using wire = await dialPort(proxy.port);
    wire.socket.pause();
    const request = "GET http://nobody.test/ HTTP/1.1\r\nHost: nobody.test\r\n\r\n".repeat(200);
    let sent = 0;
    const pump = (): void => {
      while (sent < 20_000_000 && !wire.socket.destroyed) {
        sent += request.length;
        if (!wire.write(request).socket.writableNeedDrain) continue;
        return void wire.socket.once("drain", pump);
      }
    };
    pump();
    await steady(() => sent);
    expect(sent).toBeLessThan(20_000_000);
  });

  /** Until it moves no more. */
  async function steady(value: () => number): Promise<void> {
    for (let last = -1; last !== value();) {
      last = value();
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }
});

describe("WebSocket", () => {
  const echo = (server: Server): WebSocketServer => {
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", (socket) => {
      socket.send("welcome");
      socket.on("message", (data, binary) => socket.send(data, { binary }));
    });
    return sockets;
  };

  async function converse(socket: WebSocket): Promise<void> {
    const messages: string[] = [];
    socket.on("message", (data: Buffer) => messages.push(data.toString()));
    await once(socket, "open");
    socket.send("hello");
    socket.send("x".repeat(300_000));
    while (messages.length < 3) await once(socket, "message");
    expect(messages.map(({ length }) => length)).toEqual([7, 5, 300_000]);
    socket.close(4001, "done");
    const [code] = (await once(socket, "close")) as [number];
    expect(code).toBe(4001);
  }

  async function counted(): Promise<void> {
    const found = exchanges((await proxy.recorded(settled)).slice(recorded));
    const upgrade = found.find(({ decision }) => decision["kind"] === "upgrade");
    expect(upgrade?.decision).toMatchObject({ verdict: "allow", path: "/socket" });
    expect(upgrade?.completion).toMatchObject({ outcome: "completed", status: 101 });
    expect(Number(upgrade?.completion?.["bytesUp"])).toBeGreaterThan(300_000);
    expect(Number(upgrade?.completion?.["bytesDown"])).toBeGreaterThan(300_000);
  }

  test("plain, and its octets are counted", async () => {
    const server = createServer();
    const sockets = echo(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await converse(
      new WebSocket(`ws://origin.test:${port}/socket?a=b`, {
        createConnection: () => connect(proxy.port, "127.0.0.1"),
        finishRequest: (request) => {
          request.path = `http://origin.test:${port}/socket?a=b`;
          request.end();
        },
      }),
    );
    await counted();
    sockets.close();
    server.close();
  });

  test("in a tunnel", async () => {
    const certificate = ca.issue({ names: ["origin.test"] });
    const server = createSecureServer({ cert: certificate.chain, key: certificate.key });
    const sockets = echo(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const tunnel = await openTunnel({
      port: proxy.port,
      target: `origin.test:${port}`,
      tls: { ca: proxy.trustAnchor, servername: "origin.test" },
    });
    if (!(tunnel instanceof Wire)) throw new Error("no tunnel");
    tunnel.socket.removeAllListeners("data");
    await converse(
      new WebSocket(`ws://origin.test:${port}/socket`, { createConnection: () => tunnel.socket }),
    );
    tunnel.socket.destroy();
    await counted();
    sockets.close();
    server.close();
  });

  test("what the origin had still to say before it closed arrives, however slowly it is read", async () => {
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        socket.end(Buffer.alloc(3_000_000, "x"));
      });
    });
    await using wire = await dialPort(proxy.port);
    wire.write(head("GET", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    await wire.head();
    wire.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    wire.socket.resume();
    expect((await wire.rest()).length).toBe(3_000_000);
  });
});
