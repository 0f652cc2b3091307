// A parent's answer to CONNECT, cut at every octet, with what follows it handed on whole.

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import type { Host } from "../../src/net/host.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import { Secret } from "../../src/net/secret.ts";
import { openTunnel, type ParentRefusal } from "../../src/upstream/parent-tunnel.ts";

const server = createServer();
let answer: (socket: Socket) => void;
beforeAll(async () => {
  server.on("connection", (socket) => {
    socket.on("error", () => {});
    answer(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(() => void server.close());

async function open(host = "192.0.2.1", credentials?: string): Promise<Socket> {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  return openTunnel({
    socket,
    target: { host: host as Host, port: 443 },
    credentials: credentials === undefined ? undefined : new Secret(credentials),
    limits: DEFAULT_LIMITS,
    ms: 5_000,
    signal: new AbortController().signal,
  });
}

const said = async (socket: Socket): Promise<string> => {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  await once(socket, "end");
  return text;
};

test("what it writes, octet by octet", async () => {
  const heads: Promise<string>[] = [];
  answer = (socket) => {
    heads.push(once(socket, "data").then(([data]) => String(data)));
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
  };
  for (const socket of [await open(), await open("2001:db8::1", "agent:pässword")]) socket.destroy();
  expect(await Promise.all(heads)).toEqual([
    "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n",
    `CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nProxy-Authorization: Basic ${Buffer.from("agent:pässword").toString("base64")}\r\n\r\n`,
  ]);
});

test("the answer and the first words behind it, cut at every octet", async () => {
  const whole = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n\r\n\x16\x03hello";
  for (let at = 1; at < whole.length; at++) {
    answer = (socket) => {
      socket.setNoDelay(true);
      socket.write(whole.slice(0, at), "latin1");
      socket.once("data", () => socket.end(whole.slice(at), "latin1"));
    };
    expect(await said(await open())).toBe("\x16\x03hello");
  }
});

test("what arrives before anybody listens stays in the connection", async () => {
  answer = (socket) => void socket.write("HTTP/1.1 200 OK\r\n\r\nfirst,");
  const socket = await open();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const text = said(socket);
  server.getConnections(() => {});
  socket.end("bye");
  expect(await Promise.race([text, once(socket, "data").then(([data]) => String(data))])).toBe("first,");
  socket.destroy();
});

test.each([201, 204, 299])("%s opens a tunnel", async (status) => {
  answer = (socket) => void socket.end(`HTTP/1.1 ${status} Fine\r\nContent-Length: 100\r\n\r\nx`);
  expect(await said(await open())).toBe("x");
});

test.each([300, 400, 404, 407, 429, 500, 599])("%s does not, and closes the connection", async (status) => {
  const closed = Promise.withResolvers<void>();
  answer = (socket) => {
    socket.on("close", () => closed.resolve()).resume();
    socket.write(`HTTP/1.1 ${status} No\r\nContent-Length: 2\r\n\r\nno`);
  };
  const fault = await open().catch((error: unknown) => error);
  expect(fault).toBeInstanceOf(ProxyFault);
  const { reason, cause } = fault as ProxyFault;
  expect(reason).toBe(status === 407 ? "parent-auth-failed" : "parent-refused");
  expect((cause as ParentRefusal).status).toBe(status);
  await closed.promise;
});

/** What a parent may add to its yes, and what follows it is the tunnel's. */
test.each([
  ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
  ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["its end", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"],
  ["an upgrade", "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"],
  ["another protocol to come", 'HTTP/1.1 200 OK\r\nAlt-Svc: h2=":443"\r\n\r\n'],
  ["no reason", "HTTP/1.1 200\r\n\r\n"],
  ["an older version", "HTTP/1.0 200 OK\r\n\r\n"],
  ["eight words before it", `${"HTTP/1.1 103 Wait\r\nLink: </>\r\n\r\n".repeat(8)}HTTP/1.1 200 OK\r\n\r\n`],
])("200 with %s", async (_name, head) => {
  const rest = "5\r\nHTTP/1.1 403 No\r\n\r\n";
  answer = (socket) => void socket.end(head + rest, "latin1");
  expect(await said(await open())).toBe(rest);
});

test.each([
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
  ["a length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["an odd coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
  ["a status of two", "HTTP/1.1 20 OK\r\n\r\n"],
  ["a signed status", "HTTP/1.1 +20 OK\r\n\r\n"],
  ["a status below", "HTTP/1.1 099 OK\r\n\r\n"],
  ["a status beyond", "HTTP/1.1 600 OK\r\n\r\n"],
  ["two blanks", "HTTP/1.1  200 OK\r\n\r\n"],
  ["a tab", "HTTP/1.1\t200 OK\r\n\r\n"],
  ["lower case", "http/1.1 200 OK\r\n\r\n"],
  ["another protocol", "ICY 200 OK\r\n\r\n"],
  ["another version", "HTTP/1.2 200 OK\r\n\r\n"],
  ["a blank in front", " HTTP/1.1 200 OK\r\n\r\n"],
  ["a line in front", "\r\nHTTP/1.1 200 OK\r\n\r\n"],
  ["NUL", "HTTP/1.1 200 O\0K\r\n\r\n"],
  ["a bare CR", "HTTP/1.1 200 OK\rX: y\r\n\r\n"],
  ["a bare LF in a field", "HTTP/1.1 200 OK\r\nX: y\nZ: a\r\n\r\n"],
  ["a name with a blank", "HTTP/1.1 200 OK\r\nX : y\r\n\r\n"],
  ["no name", "HTTP/1.1 200 OK\r\n: y\r\n\r\n"],
  ["no colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n"],
  ["nine words before it", `${"HTTP/1.1 103 Wait\r\n\r\n".repeat(9)}HTTP/1.1 200 OK\r\n\r\n`],
  ["a switch before it", "HTTP/1.1 101 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
  ["an odd word before it", "HTTP/1.1 1o0 Go\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"],
  ["a head past the bound", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(100)}X: ${"y".repeat(16_384)}\r\n\r\n`],
  ["too many fields", `HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(DEFAULT_LIMITS.headFields + 1)}\r\n`],
  ["TLS", "\x16\x03\x03\x00\x02\x01\x00\r\n\r\n"],
])("an answer with %s opens nothing", async (_name, octets) => {
  const closed = Promise.withResolvers<void>();
  answer = (socket) => {
    socket.on("close", () => closed.resolve()).resume();
    socket.write(octets, "latin1");
  };
  await expect(open()).rejects.toMatchObject({ reason: expect.stringMatching(MALFORMED) as string });
  await closed.promise;
});

/** Told as the parent's by whoever asked for the tunnel. */
const MALFORMED = /^(parent-malformed|upstream-malformed|upstream-head-too-large)$/;
