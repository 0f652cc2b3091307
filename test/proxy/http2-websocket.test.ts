// WebSockets over HTTP/2 (RFC 8441) towards origins that speak HTTP/1.1 (RFC 6455): judged as upgrades, counted, cut alone; what is no
// WebSocket is no tunnel either.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { constants, type ClientHttp2Stream } from "node:http2";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { WebSocketServer } from "ws";
import { type Answer, answerOf, ask, type Client } from "../support/http2.ts";
import { OK } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const policy = (fetchOnly: string): string => `
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8]${fetchOnly} }
      - { host: fetch.test, networks: [127.0.0.0/8], methods: [GET] }`;
const {
  certificate,
  client,
  origin,
  proxy,
  requests: found,
  yaml,
} = await http2SetUp({
  names: ["origin.test", "fetch.test"],
  top: "http2: always\nlimits: { drain: 1s, tunnel_idle: 3s }",
  policy: policy(""),
});

const server = createServer({ cert: certificate.chain, key: certificate.key }, (_request, response) => {
  response.writeHead(426).end();
});
const sockets = new WebSocketServer({ server, handleProtocols: () => "chat" });
sockets.on("connection", (socket, request) => {
  socket.send(`welcome ${request.url} ${request.headers["sec-websocket-protocol"] ?? ""}`);
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
afterAll(() => {
  sockets.close();
  server.close();
});

const portOf = (): number => (server.address() as AddressInfo).port;
const open = (port: number, host = "origin.test"): Promise<Client> => client(`${host}:${port}`);
const upgrade = (client: Client, protocol = "websocket", headers = {}): ClientHttp2Stream =>
  client.session.request({
    ":method": "CONNECT",
    ":protocol": protocol,
    ":path": "/socket?a=b",
    "sec-websocket-version": "13",
    ...headers,
  });
/** A client's frame, masked with zeros. */
function message(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head =
    length < 126
      ? Buffer.of(0x80 | opcode, 0x80 | length)
      : Buffer.of(0x80 | opcode, 0xff, 0, 0, 0, 0, ...[24, 16, 8, 0].map((shift) => (length >> shift) & 255));
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

describe("a WebSocket", () => {
  test("opens, converses, closes; it is recorded as an upgrade, and its octets counted", async () => {
    using client = await open(portOf());
    expect(client.session.remoteSettings.enableConnectProtocol).toBe(true);
    const stream = upgrade(client, "websocket", {
      "sec-websocket-protocol": "chat",
      "sec-websocket-key": "evil",
    });
    const [headers] = (await once(stream, "response")) as [Record<string, string>];
    expect(headers[":status"]).toBe(200);
    expect(headers["sec-websocket-protocol"]).toBe("chat");
    for (const name of ["sec-websocket-accept", "upgrade", "connection"])
      expect(headers[name]).toBeUndefined();
    let received = Buffer.alloc(0);
    stream.on("data", (chunk: Buffer) => (received = Buffer.concat([received, chunk])));
    await expect.poll(() => received.toString("latin1")).toContain("welcome /socket?a=b chat");
    const big = Buffer.alloc(300_000, "x");
    stream.write(message(2, big));
    await expect.poll(() => received.length).toBeGreaterThan(300_000);
    // A close frame: the origin answers it and ends its side, and so does the stream.
    const closed = new Promise((resolve) => stream.once("close", resolve));
    stream.end(message(8, Buffer.from([0x0f, 0xa1])));
    await closed;
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    const [socket] = await found();
    expect(socket?.decision).toMatchObject({
      kind: "upgrade",
      verdict: "allow",
      method: "GET",
      path: "/socket",
    });
    expect(socket?.completion).toMatchObject({ outcome: "completed", status: 101 });
    expect(Number(socket?.completion?.["bytesUp"])).toBeGreaterThan(300_000);
    expect(Number(socket?.completion?.["bytesDown"])).toBeGreaterThan(300_000);
  });

  test("several on one connection; reset by the sandbox, the origin's is closed, the others go on", async () => {
    using client = await open(portOf());
    const streams = await Promise.all(
      Array.from({ length: 3 }, async () => {
        const stream = upgrade(client);
        stream.on("error", () => {});
        await once(stream, "response");
        await once(stream, "data");
        return stream;
      }),
    );
    const before = sockets.clients.size;
    streams[0]?.destroy(new Error("gone"));
    await expect.poll(() => sockets.clients.size).toBe(before - 1);
    streams[1]?.write(message(1, Buffer.from("still here")));
    const [echo] = (await once(streams[1]!, "data")) as [Buffer];
    expect(echo.toString()).toContain("still here");
  });

  test("is cut, alone, when the policy changes", async () => {
    using client = await open(portOf());
    const stream = upgrade(client);
    stream.on("error", () => {});
    await once(stream, "data");
    const closed = new Promise((resolve) => stream.once("close", resolve));
    expect(await proxy.reconfigure(yaml({ policy: policy(", methods: [GET]") }))).toBe(true);
    await closed;
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
    const [socket] = await found();
    expect(socket?.completion).toMatchObject({ outcome: "refused", reason: "policy-changed" });
    // The connection lives: a request is judged by itself.
    expect((await ask(client.session)).status).toBe(426);
    expect(await proxy.reconfigure(yaml())).toBe(true);
  });

  test.each(["upload", "download"])("is cut, alone, when its budget of %s is spent", async (budget) => {
    const rule = "{ host: origin.test, networks: [127.0.0.0/8] }";
    const limited = `{ preset: none, methods: all, allow: [${rule}], budgets: { ${budget}: 20000B } }`;
    await using metered = await runSallyport(yaml({ policy: limited }));
    using over = await client(`origin.test:${portOf()}`, { through: metered });
    let reached = 0;
    const count = (data: Buffer): void => void (reached += data.length);
    sockets.once("connection", (socket) => socket.on("message", count));
    const stream = upgrade(over);
    let echoed = 0;
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => (echoed += chunk.length));
    await once(stream, "response");
    for (let sent = 0; !stream.closed && sent < 200; sent++) {
      stream.write(message(2, Buffer.alloc(1_000, "x")));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(stream.closed).toBe(true);
    expect(stream.rstCode).not.toBe(constants.NGHTTP2_NO_ERROR);
    const passed = budget === "upload" ? reached : echoed;
    expect(passed).toBeGreaterThan(10_000);
    expect(passed).toBeLessThanOrEqual(20_000);
    const records = await metered.recorded((all) => all.some(({ outcome }) => outcome === "refused"));
    expect(records.find(({ outcome }) => outcome === "refused")).toMatchObject({ reason: "budget-spent" });
    // The connection is left, and says why to the next.
    expect((await ask(over.session)).headers["sallyport-reason"]).toBe("budget-spent");
  });

  test("is cut when nothing is said either way", async () => {
    using client = await open(portOf());
    const stream = upgrade(client);
    stream.on("error", () => {});
    await once(stream, "data");
    await new Promise((resolve) => stream.once("close", resolve));
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
  });

  test("that nobody reads holds its origin back", async () => {
    let sent = 0;
    origin.behave((socket) => {
      socket.once("data", (head: Buffer) => {
        socket.write(switching(head));
        const chunk = Buffer.alloc(65_536);
        const pump = (): void => {
          while (sent < 64 * 1024 * 1024 && !socket.destroyed) {
            sent += chunk.length;
            if (!socket.write(chunk)) return void socket.once("drain", pump);
          }
        };
        pump();
      });
    });
    using client = await open(origin.port);
    const stream = upgrade(client);
    stream.on("error", () => {});
    await once(stream, "response");
    for (let last = -1; last !== sent;) {
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(sent).toBeLessThan(24 * 1024 * 1024);
  });

  test("what the origin had still to say before it closed arrives", async () => {
    origin.behave((socket) => {
      socket.once("data", (head: Buffer) => {
        socket.write(switching(head));
        socket.end(Buffer.alloc(1_000_000, "x"));
      });
    });
    using client = await open(origin.port);
    const stream = upgrade(client);
    let octets = 0;
    stream.on("data", (chunk: Buffer) => (octets += chunk.length));
    stream.on("end", () => stream.end());
    await new Promise((resolve) => stream.once("close", resolve));
    expect([octets, stream.rstCode]).toEqual([1_000_000, 0]);
  });
});

/** The 101 to a request, with the accept that its key asks for. */
function switching(head: Buffer): string {
  const key = /^Sec-WebSocket-Key: *(\S+)/im.exec(head.toString("latin1"))?.[1] ?? "";
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept(key)}\r\n\r\n`;
}

function accept(key: string): string {
  return createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}

describe("what is refused", () => {
  /** Says no more once it is answered, as whoever wants no tunnel does. */
  const answerTo = (stream: ClientHttp2Stream): Promise<Answer> => {
    stream.once("response", () => stream.end());
    return answerOf(stream);
  };

  test("under a method limit", async () => {
    using client = await open(origin.port, "fetch.test");
    const answer = await answerTo(upgrade(client));
    expect(answer.status).toBe(403);
    expect(answer.headers["sallyport-reason"]).toBe("upgrade-not-allowed");
    expect(origin.connections).toBe(0);
    const [refused] = await found();
    expect(refused?.decision).toMatchObject({
      kind: "upgrade",
      verdict: "deny",
      reason: "upgrade-not-allowed",
    });
  });

  test.each(["connect-udp", "connect-ip", "webtransport", "WebSocket", "h2c"])(
    "another protocol: %s",
    async (protocol) => {
      using client = await open(origin.port);
      const answer = await answerTo(upgrade(client, protocol));
      expect(answer.status).toBe(403);
      expect(answer.headers["sallyport-reason"]).toBe("tunnel-within-tunnel");
      expect(origin.connections).toBe(0);
      await found();
    },
  );

  test.each([
    ["a wrong accept", "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"],
    ["no accept", ""],
  ])("an origin's 101 with %s", async (_name, field) => {
    origin.behave(
      (socket) =>
        void socket.once("data", () =>
          socket.write(`HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${field}\r\nhello`),
        ),
    );
    using client = await open(origin.port);
    const answer = await answerTo(upgrade(client));
    expect([answer.status, answer.headers["sallyport-reason"]]).toEqual([502, "upstream-upgrade-failed"]);
    expect(answer.body).not.toContain("hello");
    const [fault] = await found();
    expect(fault?.completion).toMatchObject({ outcome: "fault", reason: "upstream-upgrade-failed" });
  });

  test("an origin's 200 is no tunnel; its 403 is its own", async () => {
    origin.behave((socket) => void socket.once("data", () => socket.write(OK)));
    using client = await open(origin.port);
    const answer = await answerTo(upgrade(client));
    expect([answer.status, answer.headers["sallyport-reason"]]).toEqual([502, "upstream-upgrade-failed"]);
    origin.behave(
      (socket) =>
        void socket.once("data", () => socket.write("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")),
    );
    // Left open by the sandbox, it is reset in time.
    expect(await answerOf(upgrade(client))).toMatchObject({ status: 403, body: "no", code: 0 });
  });

  test("what is said before the answer", async () => {
    origin.behave(() => {});
    using client = await open(origin.port);
    const stream = upgrade(client);
    const answered = answerOf(stream);
    stream.write("early");
    expect(await answered).toMatchObject({ status: 400 });
  });
});
