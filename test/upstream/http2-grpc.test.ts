// gRPC's four kinds of calls and its errors without a message, over the upstream side: trailers, half-close, both directions at
// once, and flow control that holds each of them back by itself.

import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HeaderPairs } from "../../src/net/headers.ts";
import type { BodySink } from "../../src/net/message.ts";
import type { UpstreamAnswer } from "../../src/upstream/engine.ts";
import { createCa } from "../support/pki.ts";
import {
  ask,
  Feed,
  known,
  LOOPBACK,
  originAt,
  requestOf,
  type TestUpstream,
  upstreamOver,
} from "./asking.ts";

const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
let server: Http2SecureServer;
let upstream: TestUpstream;
let port: number;
let serve: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void = () => {};

beforeAll(async () => {
  server = createSecureServer({ cert: certificate.chain, key: certificate.key });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    serve(stream, headers);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
  upstream = upstreamOver(ca, { limits: { bodyIdleMs: 1_000, upstreamHeadMs: 1_000 } });
});
afterAll(async () => {
  upstream.close();
  await new Promise((resolve) => server.close(resolve));
});

const CALL = {
  method: "POST",
  target: "/pkg.Service/Call",
  headers: ["Content-Type", "application/grpc"],
  trailers: true,
};
const HEAD = { ":status": 200, "content-type": "application/grpc" };

/** Answers with `end` as trailers once the messages are through. */
function respondWith(stream: ServerHttp2Stream, end: Record<string, string>): void {
  stream.respond(HEAD, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(end));
}

class Listener implements BodySink {
  text = "";
  trailers: HeaderPairs | undefined;
  cut: string | undefined;
  full = false;
  onDrain: (() => void) | undefined;
  #looks: (() => void)[] = [];

  write(chunk: Buffer): boolean {
    this.text += chunk.toString("latin1");
    this.#look();
    return !this.full;
  }

  end(trailers: HeaderPairs): void {
    this.trailers = trailers;
    this.#look();
  }

  abort(reason: string): void {
    this.cut = reason;
    this.#look();
  }

  async until(enough: () => boolean): Promise<void> {
    while (!enough()) await new Promise<void>((resolve) => void this.#looks.push(resolve));
  }

  #look(): void {
    for (const look of this.#looks.splice(0)) look();
  }
}

async function call(body: Feed): Promise<UpstreamAnswer> {
  const at = originAt(port);
  const connection = upstream.reuse(at) ?? (await upstream.connect(at, LOOPBACK));
  return connection.send(requestOf({ ...CALL, body }), () => {});
}

test("unary", async () => {
  serve = (stream, headers) => {
    expect(headers).toMatchObject({ te: "trailers", "content-type": "application/grpc" });
    let got = "";
    stream.on("data", (chunk: Buffer) => (got += chunk.toString()));
    stream.on("end", () => {
      respondWith(stream, { "grpc-status": "0", "grpc-message": "fine" });
      stream.end(`hello ${got}`);
    });
  };
  expect(await ask(upstream, originAt(port), { ...CALL, body: known("world") })).toMatchObject({
    status: 200,
    body: "hello world",
    trailers: ["grpc-status", "0", "grpc-message", "fine"],
  });
});

test("an error without a message: trailers only", async () => {
  serve = (stream) =>
    stream.respond({ ...HEAD, "grpc-status": "7", "grpc-message": "no" }, { endStream: true });
  const feed = new Feed();
  const answer = await call(feed);
  expect(answer.head.headers.slice(0, 6)).toEqual([
    "content-type",
    "application/grpc",
    "grpc-status",
    "7",
    "grpc-message",
    "no",
  ]);
  expect(answer.declared).toEqual({ kind: "known", octets: 0 });
  const listener = new Listener();
  answer.body.pipe(listener);
  await listener.until(() => listener.trailers !== undefined);
  expect(listener).toMatchObject({ text: "", trailers: [], cut: undefined });
  // Nobody reads the request any more.
  await expect.poll(() => feed.stopped).toBe(true);
});

test("client streaming, with the answer's head ahead of the messages", async () => {
  serve = (stream) => {
    respondWith(stream, { "grpc-status": "0" });
    let count = 0;
    stream.on("data", () => count++);
    stream.on("end", () => stream.end(`${count > 0}`));
  };
  const feed = new Feed();
  const answer = await call(feed);
  const listener = new Listener();
  answer.body.pipe(listener);
  // For longer than the origin may be silent, were nothing going up.
  for (let i = 0; i < 8; i++) {
    await feed.write("message");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await feed.end();
  await listener.until(() => listener.trailers !== undefined || listener.cut !== undefined);
  expect(listener).toMatchObject({ text: "true", trailers: ["grpc-status", "0"], cut: undefined });
});

test("server streaming, held back by who reads it and by nobody else", async () => {
  let written = 0;
  let slow: ServerHttp2Stream | undefined;
  serve = (stream, headers) => {
    if (headers["x-quick"] !== undefined) {
      stream.respond(HEAD);
      stream.end("quick");
      return;
    }
    slow = stream;
    respondWith(stream, { "grpc-status": "0" });
    stream.on("data", () => {});
    const more = (): void => {
      while (written < 4_000_000) {
        written += 16_384;
        if (!stream.write("x".repeat(16_384))) return void stream.once("drain", more);
      }
      stream.end();
    };
    more();
  };
  const feed = new Feed();
  await Promise.resolve();
  const asking = call(feed);
  await feed.end();
  const answer = await asking;
  const listener = new Listener();
  listener.full = true;
  answer.body.pipe(listener);
  await listener.until(() => listener.onDrain !== undefined);
  await expect.poll(() => slow?.writableNeedDrain).toBe(true);
  expect(written).toBeLessThan(1_000_000);
  expect(await ask(upstream, originAt(port), { headers: ["X-Quick", "1"] })).toMatchObject({ body: "quick" });
  expect(upstream.counts.opened).toBe(1);
  listener.full = false;
  listener.onDrain?.();
  await listener.until(() => listener.trailers !== undefined || listener.cut !== undefined);
  expect({ length: listener.text.length, trailers: listener.trailers }).toEqual({
    length: written,
    trailers: ["grpc-status", "0"],
  });
});

test("both at once, one message answering another, each side closing its half", async () => {
  serve = (stream) => {
    respondWith(stream, { "grpc-status": "0" });
    stream.on("data", (chunk: Buffer) => stream.write(`<${chunk.toString()}>`));
    stream.on("end", () => stream.end("bye"));
  };
  const feed = new Feed();
  const answer = await call(feed);
  const listener = new Listener();
  answer.body.pipe(listener);
  let expected = "";
  for (const message of ["one", "two", "three"]) {
    await feed.write(message);
    expected += `<${message}>`;
    await listener.until(() => listener.text === expected);
  }
  await feed.end();
  await listener.until(() => listener.trailers !== undefined);
  expect(listener).toMatchObject({ text: `${expected}bye`, trailers: ["grpc-status", "0"] });
  expect(feed.stopped).toBe(false);
});

test("the origin ends a call that is still being sent: its status comes, and the rest is not wanted", async () => {
  serve = (stream) => {
    respondWith(stream, { "grpc-status": "8", "grpc-message": "enough" });
    stream.end();
  };
  const feed = new Feed();
  const answer = await call(feed);
  const listener = new Listener();
  answer.body.pipe(listener);
  await feed.write("one");
  await listener.until(() => listener.trailers !== undefined || listener.cut !== undefined);
  expect(listener).toMatchObject({
    trailers: ["grpc-status", "8", "grpc-message", "enough"],
    cut: undefined,
  });
  expect(feed.stopped).toBe(true);
});

test("an upload is held back by the origin", async () => {
  let stalled: ServerHttp2Stream | undefined;
  serve = (stream) => {
    stalled = stream;
    respondWith(stream, { "grpc-status": "0" });
  };
  const feed = new Feed();
  await call(feed).then(({ body }) => body.pipe(new Listener()));
  let sent = 0;
  const piece = "x".repeat(16_384);
  while (await feed.write(piece)) {
    sent += piece.length;
    await new Promise(setImmediate);
    if (sent > 5_000_000) throw new Error("never held back");
  }
  const drained = new Promise<void>((resolve) => {
    if (feed.sink !== undefined) feed.sink.onDrain = resolve;
  });
  stalled?.resume();
  await drained;
  stalled?.end();
});
