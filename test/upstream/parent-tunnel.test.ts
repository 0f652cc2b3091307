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
