// HTTP/2 in a running proxy: with whom it is spoken, what a new generation and a stop do to its streams, and who they belong to.

import { once } from "node:events";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { beforeEach, describe, expect, test } from "vitest";
import { chooseAlpn, type Http2Use } from "../../src/proxy/alpn.ts";
import { answerOf, ask } from "../support/http2.ts";
import { Frames } from "../support/http2-frames.ts";
import { DATA, frame } from "../support/http2-octets.ts";
import { OK } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const { authority, client, origin, proxy, recorded, tls, yaml } = await http2SetUp();
const policy = (methods: string): string =>
  `{ preset: none, methods: ${methods}, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }`;
const draining = (within: string): string => yaml({ top: `limits: { drain: ${within} }` });

beforeEach(async () => {
  expect(await proxy.reconfigure(yaml())).toBe(true);
});

describe("which protocol", () => {
  const H1 = "http/1.1";
  test.each<[Http2Use, string[] | undefined, string]>([
    ["auto", undefined, H1],
    ["auto", [H1], H1],
    ["auto", ["h2", H1], H1],
    ["auto", [H1, "h2"], H1],
    ["auto", ["h2"], "h2"],
    ["auto", ["h2", "http/1.0"], "h2"],
    ["auto", ["h2c"], H1],
    ["always", ["h2", H1], "h2"],
    ["always", [H1, "h2"], "h2"],
    ["always", [H1], H1],
    ["always", undefined, H1],
    ["never", ["h2", H1], H1],
    ["never", ["h2"], H1],
  ])("%s, %j: %s", (use, offered, chosen) => {
    expect(chooseAlpn(use, offered)).toBe(chosen);
  });

  test.each<[Http2Use, string[], string | undefined]>([
    ["auto", ["h2", H1], H1],
    ["auto", ["h2"], "h2"],
    ["auto", ["h3"], undefined],
    ["always", ["h2", H1], "h2"],
    ["never", ["h2", H1], H1],
    ["never", ["h2"], undefined],
  ])("in the handshake: %s, %j: %s", async (http2, alpn, chosen) => {
    expect(await proxy.reconfigure(yaml({ top: `http2: ${http2}` }))).toBe(true);
    const secured = tls(alpn);
    if (chosen === undefined) {
      await expect(secured).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" });
      const records = await recorded((all) => all.some((one) => one["kind"] === "handshake"));
      expect(records.find((one) => one["kind"] === "handshake")).toMatchObject({
        verdict: "deny",
        reason: "handshake-failed",
        host: "origin.test",
      });
    } else {
      const socket: TLSSocket = await secured;
      expect(socket.alpnProtocol).toBe(chosen);
      socket.destroy();
    }
  });
});

describe("a new generation", () => {
  test("resets the streams that it does not allow, and no others", async () => {
    using one = await client();
    const sockets: Socket[] = [];
    origin.behave(
      (socket) =>
        void socket.once("data", () => {
          sockets.push(socket);
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
        }),
    );
    const reading = one.session.request({ ":path": "/reading" });
    const read = answerOf(reading);
    await once(reading, "data");
    const writing = one.session.request({ ":path": "/writing", ":method": "POST" }, { endStream: true });
    const written = answerOf(writing);
    await once(writing, "data");
    expect(await proxy.reconfigure(yaml({ policy: policy("read-only") }))).toBe(true);
    expect((await written).code).not.toBe(0);
    for (const socket of sockets) if (!socket.destroyed) socket.write("def");
    expect(await read).toMatchObject({ status: 200, body: "abcdef", code: 0 });
    expect((await ask(one.session, { ":method": "POST" })).headers["sallyport-reason"]).toBe(
      "method-not-allowed",
    );
    const records = exchanges(await recorded((all) => exchanges(all).length >= 4));
    expect(records.find(({ decision }) => decision["path"] === "/writing")?.completion).toMatchObject({
      outcome: "refused",
      reason: "policy-changed",
    });
  });

  test("that no longer knows the sandbox ends its connection", async () => {
    const known = (secret: string): string =>
      yaml({ who: `sandboxes: [{ id: a, secret: ${secret}, policy: default }]` });
    expect(await proxy.reconfigure(known("aaaaaaaaaaaaaaaa"))).toBe(true);
    const credentials = Buffer.from("a:aaaaaaaaaaaaaaaa").toString("base64");
    using one = await client(authority, { headers: `Proxy-Authorization: Basic ${credentials}\r\n` });
    expect((await ask(one.session)).status).toBe(200);
    // What a stream says of itself does not count, and does not leave.
    origin.reset();
    expect((await ask(one.session, { "proxy-authorization": "Basic eDp5" })).status).toBe(200);
    expect(origin.received).not.toMatch(/proxy-authorization/i);
    expect(await proxy.reconfigure(known("bbbbbbbbbbbbbbbb"))).toBe(true);
    await new Promise((resolve) => one.session.once("close", resolve));
  });
});

describe("a stop", () => {
  test("says GOAWAY, lets streams end, takes no new ones, then closes", async () => {
    await using stopping = await runSallyport(draining("5s"));
    using one = await client(authority, { through: stopping });
    const reached = origin.asked();
    const answered = ask(one.session);
    const socket = await reached;
    const goaway = once(one.session, "goaway");
    const closed = new Promise((resolve) => one.socket.once("close", resolve));
    const stopped = stopping.sallyport.stop();
    const [code, last] = (await goaway) as [number, number];
    expect([code, last]).toEqual([0, 1]);
    socket.write(OK);
    expect(await answered).toMatchObject({ status: 200, body: "ok\n" });
    await closed;
    await stopped;
    expect(settled(await stopping.records())).toBe(true);
  });

  test("is not hindered by what is asked for while GOAWAY is under way", async () => {
    await using stopping = await runSallyport(draining("5s"));
    using frames = await Frames.open(stopping.port, { authority, trustAnchor: stopping.trustAnchor });
    const reached = origin.asked();
    frames.headers(1);
    const socket = await reached;
    const stopped = stopping.sallyport.stop();
    expect(await frames.goaway()).toBe(0);
    frames.headers(3, frames.request({ ":method": "POST" }), 4).send(frame(DATA, 1, 3, "late"));
    await frames.ping();
    socket.write(OK);
    await frames.until((one) => one.type === DATA && one.stream === 1);
    expect(frames.received.filter((one) => one.stream === 3)).toEqual([]);
    await stopped;
    expect(origin.received).not.toContain("late");
  });

  test("ends what does not end by itself", async () => {
    await using stopping = await runSallyport(draining("300ms"));
    using one = await client(authority, { through: stopping });
    const reached = origin.asked();
    const answered = ask(one.session);
    await reached;
    await stopping.sallyport.stop();
    await answered;
    const records = exchanges(await stopping.records()).filter(
      ({ decision }) => decision["kind"] === "request",
    );
    expect(records[0]?.completion).toMatchObject({ reason: "draining" });
  });
});
