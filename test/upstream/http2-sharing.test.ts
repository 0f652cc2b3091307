// Who shares an HTTP/2 connection with whom, for how long, and which protocol an origin is offered.

import { createSecureServer, type Http2SecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import type { Origin, UpstreamConnection } from "../../src/upstream/engine.ts";
import { createProtocols } from "../../src/upstream/protocols.ts";
import { createCa } from "../support/pki.ts";
import {
  data,
  goaway,
  headers,
  http2Origin,
  type Http2Origin,
  onRequests,
  type Peer,
  reset,
  settings,
} from "../support/http2-origin.ts";
import { END_STREAM, HEADERS } from "../support/http2-octets.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import {
  ask,
  askOver,
  LOOPBACK,
  originAt,
  reasonOf,
  requestOf,
  type TestUpstream,
  upstreamOver,
} from "./asking.ts";

const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
const cleanup: (() => PromiseLike<void> | void)[] = [];

afterEach(async () => {
  for (const one of cleanup.splice(0)) await one();
});

function upstreamWith(options?: Parameters<typeof upstreamOver>[1]): TestUpstream {
  const upstream = upstreamOver(ca, options);
  cleanup.push(() => upstream.close());
  return upstream;
}

async function framed(
  behave: (peer: Peer) => void,
  options?: Parameters<typeof http2Origin>[2],
): Promise<Http2Origin> {
  const origin = await http2Origin(certificate, behave, options);
  cleanup.push(() => origin[Symbol.asyncDispose]());
  return origin;
}

type Real = {
  readonly port: number;
  readonly sessions: () => number;
  readonly versions: string[];
  readonly server: Http2SecureServer;
};

async function real(
  options: { readonly allowHTTP1?: boolean; readonly streams?: number } = {},
): Promise<Real> {
  let sessions = 0;
  const versions: string[] = [];
  const server = createSecureServer({
    cert: certificate.chain,
    key: certificate.key,
    allowHTTP1: options.allowHTTP1 ?? false,
    settings: options.streams === undefined ? {} : { maxConcurrentStreams: options.streams },
  });
  server.on("session", () => sessions++);
  server.on("request", (request, response) => {
    versions.push(request.httpVersion);
    response.end("ok");
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  cleanup.push(() => new Promise((resolve) => void server.close(() => resolve())));
  return { port: (server.address() as AddressInfo).port, sessions: () => sessions, versions, server };
}

const answered = (peer: Peer, stream: number): void =>
  peer.send(headers(stream, [":status", "200"]), data(stream, `${stream}`, END_STREAM));

describe("one connection, many exchanges", () => {
  test("many first requests share one", async () => {
    const origin = await real();
    const upstream = upstreamWith();
    const results = await Promise.all(Array.from({ length: 50 }, () => ask(upstream, originAt(origin.port))));
    expect(results.map(({ body }) => body)).toEqual(Array.from({ length: 50 }, () => "ok"));
    expect(origin.sessions()).toBe(1);
    expect(upstream.counts).toMatchObject({ opened: 1, reused: 49 });
  });

  test("up to what the origin takes at a time; the next ones open another", async () => {
    const origin = await framed((peer) => {
      peer.send(settings([3, 2]));
    });
    const upstream = upstreamWith();
    const taken: UpstreamConnection[] = [];
    for (let i = 0; i < 5; i++) {
      const at = originAt(origin.port);
      taken.push(upstream.reuse(at) ?? (await upstream.connect(at, LOOPBACK)));
    }
    expect(origin.peers.length).toBe(3);
    expect(taken.map(({ reused }) => reused)).toEqual([false, true, false, true, false]);
    for (const one of taken) one.abort();
  });

  test("and who waited for one that is full by then opens another", async () => {
    const origin = await framed((peer) => peer.send(settings([3, 2])));
    const upstream = upstreamWith();
    const taken = await Promise.all(
      Array.from({ length: 5 }, () => upstream.connect(originAt(origin.port), LOOPBACK)),
    );
    expect(origin.peers.length).toBe(3);
    for (const one of taken) one.abort();
  });

  test("an origin that changes its mind is asked no more than it says", async () => {
    const origin = await framed((peer) => peer.send(settings([3, 10])));
    const upstream = upstreamWith();
    const at = originAt(origin.port);
    const first = await upstream.connect(at, LOOPBACK);
    origin.peers[0]?.send(settings([3, 1]));
    await expect.poll(() => upstream.reuse(at)).toBeUndefined();
    first.abort();
  });

  test("never between partitions, origins, or addresses that were judged for another", async () => {
    const origin = await real();
    const upstream = upstreamWith();
    await ask(upstream, originAt(origin.port));
    expect(upstream.reuse(originAt(origin.port, "2", "two"))).toBeUndefined();
    expect(upstream.reuse({ ...originAt(origin.port), scheme: "http" })).toBeUndefined();
    expect(upstream.reuse(originAt(origin.port, "1.1"))).toBeUndefined();
    expect(upstream.reuse(originAt(origin.port, "upgrade"))).toBeUndefined();
    // Both at once, for one host, each with addresses of its own: neither gets the other's, nor its fault.
    const other = [parseAddress("127.0.0.2")!];
    for (const order of [
      [LOOPBACK, other],
      [other, LOOPBACK],
    ]) {
      const at = originAt(origin.port, "2", `three ${order[0]?.[0]}`);
      const got = await Promise.all(
        order.map((addresses) => upstream.connect(at, addresses).catch(reasonOf)),
      );
      const addresses = got.map((one) => (typeof one === "string" ? one : String(one.address)));
      expect(addresses.toSorted()).toEqual(["127.0.0.1", "upstream-refused"]);
      for (const one of got) if (typeof one !== "string") one.abort();
    }
  });

  test("a dial that fails, fails all who wait for it alike, and the next is tried anew", async () => {
    const server = createHttpsServer();
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => void server.close(resolve));
    const upstream = upstreamWith();
    const results = await Promise.all(Array.from({ length: 5 }, () => ask(upstream, originAt(port))));
    expect(results.map(({ fault }) => fault)).toEqual(Array.from({ length: 5 }, () => "upstream-refused"));
    expect((await ask(upstream, originAt(port))).fault).toBe("upstream-refused");
  });

  test("one that was judged and not wanted is left to nobody else", async () => {
    const origin = await framed(onRequests(answered));
    const upstream = upstreamWith();
    const at = originAt(origin.port);
    await ask(upstream, at);
    upstream.reuse(at)?.abort();
    expect(upstream.reuse(at)).toBeUndefined();
    await origin.peers[0]?.end;
  });
});

describe("its end", () => {
  test("idle, it closes after a while; with an exchange it does not", async () => {
    const origin = await framed(onRequests((peer, stream) => stream === 1 && answered(peer, stream)));
    const upstream = upstreamWith({ limits: { upstreamIdleMs: 100 } });
    const at = originAt(origin.port);
    await ask(upstream, at);
    const connection = upstream.reuse(at)!;
    const asking = askOver(connection);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(origin.peers[0]?.closed).toBe(false);
    answered(origin.peers[0]!, 3);
    expect(await asking).toMatchObject({ body: "3" });
    await origin.peers[0]?.end;
    expect(upstream.reuse(at)).toBeUndefined();
    await expect.poll(() => upstream.counts).toEqual({ opened: 1, reused: 1, closed: 1 });
  });

  test("closing the pool ends what is idle at once, and the rest with its last exchange", async () => {
    const origin = await framed(onRequests(() => {}));
    const upstream = upstreamWith();
    const busy = await upstream.connect(originAt(origin.port), LOOPBACK);
    const asking = askOver(busy);
    await origin.peers[0]?.got(({ type }) => type === HEADERS);
    upstream.close();
    expect(upstream.reuse(originAt(origin.port))).toBeUndefined();
    answered(origin.peers[0]!, 1);
    expect(await asking).toMatchObject({ body: "1", cut: undefined });
    await origin.peers[0]?.end;
  });

  test("what is being opened as the pool closes serves who asked for it", async () => {
    const origin = await real();
    const upstream = upstreamWith();
    const asking = ask(upstream, originAt(origin.port));
    upstream.close();
    expect(await asking).toMatchObject({ body: "ok" });
    await expect.poll(() => upstream.counts.closed).toBe(1);
  });

  test("an idle one makes room for another; a busy one does not", async () => {
    const origin = await framed(onRequests((peer, stream) => stream === 1 && answered(peer, stream)));
    const upstream = upstreamWith({ limits: { upstreamTotal: 2 } });
    await ask(upstream, originAt(origin.port, "2", "one"));
    await ask(upstream, originAt(origin.port, "2", "two"));
    const third = await upstream.connect(originAt(origin.port, "2", "three"), LOOPBACK);
    const fourth = await upstream.connect(originAt(origin.port, "2", "four"), LOOPBACK);
    await expect(upstream.connect(originAt(origin.port, "2", "five"), LOOPBACK)).rejects.toMatchObject({
      reason: "too-many-connections",
    });
    third.abort();
    fourth.abort();
  });

  test("GOAWAY: what is under way ends in order, and nothing new begins", async () => {
    const origin = await framed(onRequests(() => {}));
    const upstream = upstreamWith();
    const at = originAt(origin.port);
    const asking = ask(upstream, at);
    const [peer] = await peersOf(origin, 1);
    await peer?.got(({ type }) => type === HEADERS);
    peer?.send(goaway(0x7fffffff, 0));
    await expect.poll(() => upstream.reuse(at)).toBeUndefined();
    peer?.send(goaway(1, 0));
    answered(peer!, 1);
    expect(await asking).toMatchObject({ body: "1", cut: undefined });
    await peer?.end;
  });

  test.each([
    ["idle", 0],
    ["with a last exchange", 1],
  ])("GOAWAY, %s, from an origin that never closes: it is closed all the same", async (_name, busy) => {
    const origin = await framed(
      onRequests((peer, stream) => stream <= 3 - 2 * busy && answered(peer, stream)),
      { halfOpen: true },
    );
    const upstream = upstreamWith({ limits: { upstreamIdleMs: 200 } });
    const at = originAt(origin.port);
    await ask(upstream, at);
    const asking = busy === 1 ? ask(upstream, at) : undefined;
    const [peer] = origin.peers;
    if (busy === 1) await peer?.got(({ type, stream }) => type === HEADERS && stream === 3);
    peer?.send(goaway(3, 0));
    if (busy === 1) answered(peer!, 3);
    expect(await asking).toEqual(busy === 1 ? expect.objectContaining({ body: "3" }) : undefined);
    await expect.poll(() => upstream.counts.closed, { timeout: 4_000 }).toBe(1);
  });

  test("a stream that stalls takes the connection out of use, for it may be dead", async () => {
    const origin = await framed(onRequests(() => {}));
    const upstream = upstreamWith({ limits: { upstreamHeadMs: 200 } });
    const at = originAt(origin.port);
    expect(await ask(upstream, at)).toMatchObject({ fault: "upstream-read-timeout" });
    expect(upstream.reuse(at)).toBeUndefined();
    await origin.peers[0]?.end;
  });
});

async function peersOf(origin: Http2Origin, count: number): Promise<readonly Peer[]> {
  await expect.poll(() => origin.peers.length).toBe(count);
  return origin.peers;
}

describe("what was not processed is known", () => {
  test.each<[string, (peer: Peer, stream: number) => void, boolean]>([
    ["REFUSED_STREAM", (peer, stream) => peer.send(reset(stream, 7)), true],
    ["HTTP_1_1_REQUIRED", (peer, stream) => peer.send(reset(stream, 13)), true],
    ["GOAWAY that leaves it out", (peer) => peer.send(goaway(0, 0)), true],
    ["GOAWAY with an error that leaves it out", (peer) => peer.send(goaway(0, 11)), true],
    ["GOAWAY that names it", (peer, stream) => (peer.send(goaway(stream, 0)), peer.socket.end()), false],
    ["GOAWAY with an error that names it", (peer, stream) => peer.send(goaway(stream, 2)), false],
    ["CANCEL", (peer, stream) => peer.send(reset(stream, 8)), false],
    ["the connection closed", (peer) => void peer.socket.end(), false],
    [
      "REFUSED_STREAM behind an interim answer",
      (peer, stream) => peer.send(headers(stream, [":status", "103"]), reset(stream, 7)),
      false,
    ],
  ])("%s", async (_name, answer, unprocessed) => {
    const origin = await framed(onRequests(answer));
    const upstream = upstreamWith();
    const connection = await upstream.connect(originAt(origin.port), LOOPBACK);
    await expect(connection.send(requestOf({ method: "POST" }), () => {})).rejects.toMatchObject({
      reason: "upstream-reset",
    });
    expect(connection.unprocessed).toBe(unprocessed);
  });

  test("so is what was never sent, because the origin went away before", async () => {
    const origin = await framed(onRequests(answered));
    const upstream = upstreamWith();
    const connection = await upstream.connect(originAt(origin.port), LOOPBACK);
    origin.peers[0]?.send(goaway(0, 0));
    await origin.peers[0]?.end;
    await expect(connection.send(requestOf(), () => {})).rejects.toMatchObject({ reason: "upstream-reset" });
    expect(connection.unprocessed).toBe(true);
  });
});

describe("what is offered", () => {
  const at = (by: Origin["by"], scheme: Origin["scheme"] = "https"): Origin => ({
    ...originAt(1, by),
    scheme,
  });
  test.each([
    ["never", "2", "https", ["http/1.1"]],
    ["auto", "1.1", "https", ["http/1.1"]],
    ["auto", "2", "https", ["h2", "http/1.1"]],
    ["auto", "2", "http", ["http/1.1"]],
    ["auto", "upgrade", "https", ["http/1.1"]],
    ["always", "1.1", "https", ["h2", "http/1.1"]],
    ["always", "2", "https", ["h2", "http/1.1"]],
    ["always", "1.1", "http", ["http/1.1"]],
    ["always", "upgrade", "https", ["http/1.1"]],
  ] as const)("%s, a request by %s to %s: %s", (mode, by, scheme, offer) => {
    expect(createProtocols(mode).offer(at(by, scheme))).toEqual(offer);
  });

  test("an origin that declines HTTP/2 gives each a connection of its own", async () => {
    const origin = await recordingOrigin(certificate);
    cleanup.push(() => origin[Symbol.asyncDispose]());
    const upstream = upstreamWith();
    const results = await Promise.all(Array.from({ length: 4 }, () => ask(upstream, originAt(origin.port))));
    expect(results.map(({ body }) => body)).toEqual(Array.from({ length: 4 }, () => "ok\n"));
    expect(origin.connections).toBe(4);
    // They are reused, by whoever makes the same offer.
    expect(upstream.reuse(originAt(origin.port, "1.1"))).toBeUndefined();
    upstream.reuse(originAt(origin.port))!.abort();
  });

  test("an origin that speaks HTTP/2 alone is found out, and remembered", async () => {
    const origin = await real();
    const upstream = upstreamWith();
    const plain = originAt(origin.port, "1.1");
    expect(await ask(upstream, plain)).toMatchObject({ body: "ok" });
    expect(await ask(upstream, plain)).toMatchObject({ body: "ok" });
    expect(origin.versions).toEqual(["2.0", "2.0"]);
    expect(origin.sessions()).toBe(1);
    // Not for an upgrade, which HTTP/2 would lose.
    await expect(upstream.connect(originAt(origin.port, "upgrade"), LOOPBACK)).rejects.toMatchObject({
      reason: "upstream-tls-failed",
    });
  });

  test("but not where HTTP/2 is never spoken", async () => {
    const origin = await real();
    const upstream = upstreamWith({ http2: "never" });
    expect(await ask(upstream, originAt(origin.port, "2"))).toMatchObject({ fault: "upstream-tls-failed" });
    expect(origin.versions).toEqual([]);
  });

  test("an origin that spoke HTTP/2 alone and no longer does is asked as any other", async () => {
    const protocols = createProtocols("auto");
    const plain = at("1.1");
    const refused = await refusal();
    expect(protocols.otherwise(plain, ["http/1.1"], new Error("x"))).toBeUndefined();
    expect(protocols.otherwise(plain, protocols.offer(plain), refused)).toEqual(["h2"]);
    expect(protocols.offer(plain)).toEqual(["h2"]);
    expect(protocols.otherwise(plain, protocols.offer(plain), refused)).toEqual(["http/1.1"]);
    expect(protocols.offer(plain)).toEqual(["http/1.1"]);
    expect(protocols.otherwise(at("2"), protocols.offer(at("2")), refused)).toBeUndefined();
  });

  test("what is remembered has a bound", async () => {
    const protocols = createProtocols("auto", { max: 2 });
    const refused = await refusal();
    for (const port of [1, 2, 3]) {
      const plain = originAt(port, "1.1");
      protocols.otherwise(plain, protocols.offer(plain), refused);
    }
    expect([1, 2, 3].map((port) => protocols.offer(originAt(port, "1.1")))).toEqual([
      ["http/1.1"],
      ["h2"],
      ["h2"],
    ]);
  });

  test("HTTP_1_1_REQUIRED is heeded from then on", async () => {
    const origin = await framed(
      onRequests((peer, stream) => peer.send(reset(stream, 13))),
      { alpn: ["h2", "http/1.1"] },
    );
    const upstream = upstreamWith();
    expect(await ask(upstream, originAt(origin.port))).toMatchObject({ fault: "upstream-reset" });
    expect(upstream.reuse(originAt(origin.port))).toBeUndefined();
    const next = await upstream.connect(originAt(origin.port), LOOPBACK);
    await peersOf(origin, 2);
    expect(origin.peers.map(({ socket }) => socket.alpnProtocol)).toEqual(["h2", "http/1.1"]);
    next.abort();
  });
});

/** A real alert, of an origin that speaks only what is not offered. */
async function refusal(): Promise<unknown> {
  const origin = await real();
  const upstream = upstreamWith({ http2: "never" });
  return upstream.connect(originAt(origin.port), LOOPBACK).then(
    () => undefined,
    (fault: unknown) => fault,
  );
}
