// HTTP/2 in a running proxy: with whom it is spoken, what a new generation and a stop do to its streams, and who they belong to.

import { once } from "node:events";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { chooseAlpn, type Http2Use } from "../../src/proxy/alpn.ts";
import { answerOf, ask, http2Client, tunnelTls } from "../support/http2.ts";
import { Frames } from "../support/http2-frames.ts";
import { DATA, frame } from "../support/http2-octets.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { exchanges, settled } from "./wire.ts";
import { trustFile } from "./trust-file.ts";

let origin: RecordingOrigin;
let authority: string;
let proxy: RunningSallyport;
let yaml: (options?: { http2?: Http2Use; methods?: string; more?: string; drain?: string }) => string;
let recorded = 0;

beforeAll(async () => {
  const ca = createCa();
  origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
  authority = `origin.test:${origin.port}`;
  const trust = await trustFile(ca);
  yaml = ({ http2 = "auto", methods = "all", more = "anonymous: default", drain = "1s" } = {}) => `
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1] } }
http2: ${http2}
limits: { drain: ${drain} }
${more}
policies:
  default: { preset: none, methods: ${methods}, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`;
  proxy = await runSallyport(yaml());
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(async () => {
  expect(await proxy.reconfigure(yaml())).toBe(true);
  recorded = (await proxy.recorded(settled)).length;
  origin.behave(answerRequests(() => OK.replace("\r\n", "\r\nConnection: close\r\n")));
});

const open = (port = proxy.port, trustAnchor = proxy.trustAnchor, headers = "") =>
  http2Client(port, { authority, trustAnchor, headers });

/** The origin's connection once it got octets. */
function asked(): Promise<Socket> {
  return new Promise((resolve) => {
    origin.behave((socket) => void socket.once("data", () => resolve(socket)));
  });
}

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
    expect(await proxy.reconfigure(yaml({ http2 }))).toBe(true);
    const secured = tunnelTls(proxy.port, { authority, trustAnchor: proxy.trustAnchor, alpn });
    if (chosen === undefined) {
      await expect(secured).rejects.toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL" });
      const records = await proxy.recorded((all) =>
        all.slice(recorded).some((one) => one["kind"] === "handshake"),
      );
      expect(records.slice(recorded).find((one) => one["kind"] === "handshake")).toMatchObject({
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
    using client = await open();
    const sockets: Socket[] = [];
    origin.behave(
      (socket) =>
        void socket.once("data", () => {
          sockets.push(socket);
          socket.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
        }),
    );
    const reading = client.session.request({ ":path": "/reading" });
    const read = answerOf(reading);
    await once(reading, "data");
    const writing = client.session.request({ ":path": "/writing", ":method": "POST" }, { endStream: true });
    const written = answerOf(writing);
    await once(writing, "data");
    expect(await proxy.reconfigure(yaml({ methods: "read-only" }))).toBe(true);
    expect((await written).code).not.toBe(0);
    for (const socket of sockets) if (!socket.destroyed) socket.write("def");
    expect(await read).toMatchObject({ status: 200, body: "abcdef", code: 0 });
    expect((await ask(client.session, { ":method": "POST" })).headers["sallyport-reason"]).toBe(
      "method-not-allowed",
    );
    const records = exchanges(
      (await proxy.recorded((all) => exchanges(all.slice(recorded)).length >= 4)).slice(recorded),
    );
    expect(records.find(({ decision }) => decision["path"] === "/writing")?.completion).toMatchObject({
      outcome: "refused",
      reason: "policy-changed",
    });
  });

  test("that no longer knows the sandbox ends its connection", async () => {
    const known = (secret: string): string =>
      yaml({ more: `sandboxes: [{ id: a, secret: ${secret}, policy: default }]` });
    expect(await proxy.reconfigure(known("aaaaaaaaaaaaaaaa"))).toBe(true);
    const credentials = Buffer.from("a:aaaaaaaaaaaaaaaa").toString("base64");
    using client = await open(proxy.port, proxy.trustAnchor, `Proxy-Authorization: Basic ${credentials}\r\n`);
    expect((await ask(client.session)).status).toBe(200);
    // What a stream says of itself does not count, and does not leave.
    origin.reset();
    expect((await ask(client.session, { "proxy-authorization": "Basic eDp5" })).status).toBe(200);
    expect(origin.received).not.toMatch(/proxy-authorization/i);
    expect(await proxy.reconfigure(known("bbbbbbbbbbbbbbbb"))).toBe(true);
    await new Promise((resolve) => client.session.once("close", resolve));
  });
});

describe("a stop", () => {
  test("says GOAWAY, lets streams end, takes no new ones, then closes", async () => {
    await using stopping = await runSallyport(yaml({ drain: "5s" }));
    using client = await open(stopping.port, stopping.trustAnchor);
    const reached = asked();
    const answered = ask(client.session);
    const socket = await reached;
    const goaway = once(client.session, "goaway");
    const closed = new Promise((resolve) => client.socket.once("close", resolve));
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
    await using stopping = await runSallyport(yaml({ drain: "5s" }));
    using frames = await Frames.open(stopping.port, { authority, trustAnchor: stopping.trustAnchor });
    const reached = asked();
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
    await using stopping = await runSallyport(yaml({ drain: "300ms" }));
    using client = await open(stopping.port, stopping.trustAnchor);
    const reached = asked();
    const answered = ask(client.session);
    await reached;
    await stopping.sallyport.stop();
    await answered;
    const records = exchanges(await stopping.records()).filter(
      ({ decision }) => decision["kind"] === "request",
    );
    expect(records[0]?.completion).toMatchObject({ reason: "draining" });
  });
});
