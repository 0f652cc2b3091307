import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";

import type { Address } from "../../src/net/address.ts";
import { dial } from "../../src/upstream/dial.ts";
import { blackHole, tcpOrigin } from "./origins.ts";

const address = (text: string) => text as Address;
const never = new AbortController().signal;

/** A port that was free a moment ago. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Every socket that is made from here on. */
function watchSockets(): Socket[] {
  const made: Socket[] = [];
  const onSocket = (message: unknown) => void made.push((message as { socket: Socket }).socket);
  subscribe("net.client.socket", onSocket);
  onTestFinished(() => void unsubscribe("net.client.socket", onSocket));
  return made;
}

describe("dial", () => {
  test("connects to the very address that it was given", async () => {
    await using origin = await tcpOrigin();
    const dialed = await dial({
      addresses: [address("127.0.0.1")],
      port: origin.port,
      connectMs: 2_000,
      signal: never,
    });
    expect([dialed.address, dialed.socket.remoteAddress, dialed.socket.remotePort]).toEqual([
      "127.0.0.1",
      "127.0.0.1",
      origin.port,
    ]);
    dialed.socket.destroy();
  });

  test("a refused address gives way to the next at once", async () => {
    await using origin = await tcpOrigin("127.0.0.2");
    const started = performance.now();
    const dialed = await dial({
      addresses: [address("127.0.0.3"), address("127.0.0.2")],
      port: origin.port,
      connectMs: 2_000,
      signal: never,
    });
    expect(dialed.address).toBe("127.0.0.2");
    expect(performance.now() - started).toBeLessThan(200);
    dialed.socket.destroy();
  });

  test("a silent address gives way to the next after the stagger, and is closed", async () => {
    await using hole = await blackHole();
    await using origin = await tcpOrigin("127.0.0.2", hole.port);
    const made = watchSockets();
    const started = performance.now();
    const dialed = await dial({
      addresses: [address("127.0.0.1"), address("127.0.0.2")],
      port: hole.port,
      connectMs: 5_000,
      signal: never,
    });
    const took = performance.now() - started;
    expect(dialed.address).toBe("127.0.0.2");
    expect(took).toBeGreaterThanOrEqual(240);
    expect(took).toBeLessThan(2_000);
    expect(made.map((socket) => socket === dialed.socket || socket.destroyed)).toEqual([true, true]);
    expect(origin.connections()).toBe(1);
    dialed.socket.destroy();
  });

  test("families take turns", async () => {
    await using origin = await tcpOrigin();
    const dialed = await dial({
      // Documentation addresses of IPv6 that nothing routes; one of them after the other would take seconds.
      addresses: [address("::1"), address("2001:db8::1"), address("2001:db8::2"), address("127.0.0.1")],
      port: origin.port,
      connectMs: 1_000,
      signal: never,
    });
    expect(dialed.address).toBe("127.0.0.1");
    dialed.socket.destroy();
  });

  test.each([
    ["refused", [address("127.0.0.1")], "upstream-refused"],
    ["refused by all", [address("127.0.0.1"), address("127.0.0.2")], "upstream-refused"],
    ["nothing to connect to", [], "upstream-unreachable"],
  ] as const)("%s: %s", async (_, addresses, reason) => {
    const port = await closedPort();
    await expect(dial({ addresses, port, connectMs: 2_000, signal: never })).rejects.toMatchObject({
      reason,
    });
  });

  test("silence has a bound over all addresses together", async () => {
    await using hole = await blackHole();
    const started = performance.now();
    const addresses = [address("127.0.0.1"), address("127.0.0.1"), address("127.0.0.1")];
    await expect(dial({ addresses, port: hole.port, connectMs: 400, signal: never })).rejects.toMatchObject({
      reason: "upstream-timeout",
    });
    expect(performance.now() - started).toBeLessThan(1_500);
  });

  test("an abort leaves nothing open", async () => {
    await using hole = await blackHole();
    const made = watchSockets();
    const controller = new AbortController();
    const attempt = dial({
      addresses: [address("127.0.0.1"), address("127.0.0.1")],
      port: hole.port,
      connectMs: 60_000,
      signal: controller.signal,
    });
    const reason = new Error("the sandbox left");
    controller.abort(reason);
    await expect(attempt).rejects.toBe(reason);
    expect(made.map((socket) => socket.destroyed)).toEqual([true]);
  });

  test("a signal that has fired already opens nothing", async () => {
    await using origin = await tcpOrigin();
    const reason = new Error("gone");
    const options = { addresses: [address("127.0.0.1")], port: origin.port, connectMs: 2_000 };
    await expect(dial({ ...options, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(origin.connections()).toBe(0);
  });

  test("a name is never resolved", async () => {
    await using origin = await tcpOrigin();
    const options = { addresses: [address("localhost")], port: origin.port, connectMs: 2_000, signal: never };
    await expect(dial(options)).rejects.toMatchObject({ reason: "internal-error" });
    expect(origin.connections()).toBe(0);
  });
});
