// What docs/life-of-a-request.md says of ends: who may cut an exchange, what the record then says, and what the sandbox sees.

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";

const PART = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart";
const ALLOWING = `anonymous: default
upstream: { hosts: { origin.test: [127.0.0.1] } }
policies: { default: { allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
`;

describe("an answer that is under way", async () => {
  const origin = await recordingOrigin();
  afterAll(() => origin[Symbol.asyncDispose]());
  let upstream: Socket;
  beforeEach(() => {
    origin.reset();
    origin.behave((socket) => {
      upstream = socket;
      socket.once("data", () => socket.write(PART));
    });
  });

  /** Asks, and has the first part of the answer. */
  async function begin(proxy: RunningSallyport): Promise<Socket> {
    const socket = connect(proxy.port, "127.0.0.1").on("error", () => {});
    const host = `origin.test:${origin.port}`;
    socket.write(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    let answer = "";
    while (!answer.endsWith("part")) answer += String((await once(socket, "data"))[0]);
    return socket;
  }

  async function ended(proxy: RunningSallyport): Promise<unknown> {
    const records = await proxy.recorded((all) => all.some(({ type }) => type === "completion"));
    const completion = records.find(({ type }) => type === "completion");
    return { outcome: completion?.["outcome"], reason: completion?.["reason"] };
  }

  test("the sandbox closes", async () => {
    await using proxy = await runSallyport(ALLOWING);
    (await begin(proxy)).resetAndDestroy();
    expect(await ended(proxy)).toEqual({ outcome: "aborted", reason: undefined });
  });

  test("the origin breaks off: the sandbox sees the body cut", async () => {
    await using proxy = await runSallyport(ALLOWING);
    const socket = await begin(proxy);
    upstream.destroy();
    await closed(socket);
    expect(await ended(proxy)).toEqual({ outcome: "fault", reason: "upstream-reset" });
  });

  test("a new generation no longer allows it", async () => {
    await using proxy = await runSallyport(ALLOWING);
    const socket = await begin(proxy);
    expect(await proxy.reconfigure(ALLOWING.replace("host: origin.test", "host: other.test"))).toBe(true);
    await closed(socket);
    expect(await ended(proxy)).toEqual({ outcome: "refused", reason: "policy-changed" });
  });

  test("a new generation that allows it still leaves it alone", async () => {
    await using proxy = await runSallyport(ALLOWING);
    const socket = await begin(proxy);
    expect(await proxy.reconfigure(`${ALLOWING}limits: { head: 32KiB }\n`)).toBe(true);
    upstream.write("ending");
    expect(String((await once(socket, "data"))[0])).toBe("ending");
    expect(await ended(proxy)).toEqual({ outcome: "completed", reason: undefined });
    socket.destroy();
  });

  test("a stop, after limits.drain", async () => {
    await using proxy = await runSallyport(`${ALLOWING}limits: { drain: 100ms }\n`);
    const socket = await begin(proxy);
    await Promise.all([closed(socket), proxy.sallyport.stop()]);
    expect(await ended(proxy)).toEqual({ outcome: "refused", reason: "draining" });
  });

  test("a bound", async () => {
    await using proxy = await runSallyport(`${ALLOWING}limits: { body_idle: 200ms }\n`);
    const socket = await begin(proxy);
    await closed(socket);
    expect(await ended(proxy)).toEqual({ outcome: "fault", reason: "upstream-read-timeout" });
  });
});

test("an intercepted tunnel is no connection to the origin; what is no TLS in it is told and recorded", async () => {
  await using origin = await recordingOrigin();
  await using proxy = await runSallyport(ALLOWING);
  const host = `origin.test:${origin.port}`;
  const socket = connect(proxy.port, "127.0.0.1");
  socket.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  expect(String((await once(socket, "data"))[0])).toMatch(/^HTTP\/1\.1 200 Connection Established\r\n/);
  socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  expect(answer).toMatch(/^HTTP\/1\.1 403 .*not-tls/);
  expect(origin.connections).toBe(0);
  const records = await proxy.recorded((all) => all.filter(({ type }) => type === "completion").length === 2);
  const decisions = records.filter(({ type }) => type === "decision");
  expect(decisions.map(({ kind, verdict, reason }) => ({ kind, verdict, reason }))).toEqual([
    { kind: "connect", verdict: "allow", reason: undefined },
    { kind: "handshake", verdict: "deny", reason: "not-tls" },
  ]);
  expect(decisions[1]?.["tunnel"]).toBe(decisions[0]?.["id"]);
});

/** Whether it ends in order or by a reset. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
