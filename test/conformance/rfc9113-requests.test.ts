// RFC 9113 towards sandboxes, by section, frame by frame: what is an error of a stream or of the connection, what is recorded of it,
// and that nothing of it reaches the origin.

import { describe, expect, test } from "vitest";
import { Frames } from "../support/http2-frames.ts";
import {
  ACK,
  block,
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  type Fields,
  FLOW_CONTROL_ERROR,
  frame,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HEADERS,
  PADDED,
  PING,
  PREFACE,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  REFUSED_STREAM,
  RST_STREAM,
  setting,
  SETTINGS,
  STREAM_CLOSED,
  u32,
  WINDOW_UPDATE,
  WITH_PRIORITY,
} from "../support/http2-octets.ts";
import { answerRequests, OK } from "../support/recording-origin.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const {
  authority,
  begin,
  frames: open,
  malformed,
  origin,
  recorded,
  requests,
  tls,
} = await http2SetUp({
  top: `http2: auto
limits: { streams: 5, head: 4KiB, target: 1KiB, headers: 20, head_time: 1s, idle: 1500ms, drain: 500ms }`,
});

/** The one record, besides the tunnel's. */
async function record() {
  const [one, ...more] = await requests();
  expect(more).toEqual([]);
  return one!;
}

const POST = { ":method": "POST" };

describe("§8.1, §8.2, §8.3: a malformed request is refused alone, and recorded", () => {
  const without = (fields: Fields, name: string): Fields => fields.filter(([given]) => given !== name);
  type Case = readonly [name: string, make: (frames: Frames) => Fields, status?: number, reason?: string];
  const cases: readonly Case[] = [
    ["no :method", (f) => without(f.request(), ":method")],
    ["no :scheme", (f) => without(f.request(), ":scheme")],
    ["no :path", (f) => without(f.request(), ":path")],
    ["no :authority and no Host", (f) => without(f.request(), ":authority"), 400, "host-ambiguous"],
    ["an empty :path", (f) => f.request({ ":path": "" }), 400, "target-malformed"],
    ["a :path without its slash", (f) => f.request({ ":path": "a" }), 400, "target-malformed"],
    ["* for another method than OPTIONS", (f) => f.request({ ":path": "*" }), 400, "target-malformed"],
    ["a space in :path", (f) => f.request({ ":path": "/ HTTP/1.1" }), 400, "target-malformed"],
    ["CR LF in :path", (f) => f.request({ ":path": "/\r\nX: y" }), 400, "target-malformed"],
    ["CR LF in :method", (f) => f.request({ ":method": "GET / HTTP/1.1\r\nX: y\r\n\r\nGET" })],
    ["another scheme", (f) => f.request({ ":scheme": "ftp" }), 400, "target-malformed"],
    ["a scheme in upper case", (f) => f.request({ ":scheme": "HTTPS" }), 400, "target-malformed"],
    ["userinfo", (f) => f.request({ ":authority": `u@${authority}` }), 400, "authority-malformed"],
    [
      "a path in :authority",
      (f) => f.request({ ":authority": `${authority}/x` }),
      400,
      "authority-malformed",
    ],
    ["an empty :authority", (f) => f.request({ ":authority": "" }), 400, "authority-malformed"],
    ["two :path", (f) => [...f.request(), [":path", "/b"]]],
    ["two :method", (f) => [[":method", "GET"], ...f.request()]],
    ["two :authority", (f) => [...f.request(), [":authority", authority]]],
    ["a response's pseudo-field", (f) => [...f.request(), [":status", "200"]]],
    ["an unknown pseudo-field", (f) => [...f.request(), [":evil", "1"]]],
    ["a pseudo-field behind others", (f) => [["x", "1"], ...f.request()]],
    [
      ":protocol where it was not offered",
      (f) => f.request({ ":method": "CONNECT", ":protocol": "websocket" }),
    ],
    ["a name in upper case", (f) => f.request({ Upper: "1" })],
    ["a name with a space", (f) => f.request({ "a b": "1" })],
    ["a name with a colon", (f) => f.request({ "a:b": "1" })],
    ["a name with CR LF", (f) => f.request({ "a\r\nb": "1" })],
    ["a name with high octets", (f) => f.request({ "a\xe9": "1" })],
    ["an empty name", (f) => [...f.request(), ["", "1"]]],
    ["CR LF in a value", (f) => f.request({ a: "b\r\nHost: evil.test" })],
    ["LF in a value", (f) => f.request({ a: "b\nc" })],
    ["CR in a value", (f) => f.request({ a: "b\rc" })],
    ["NUL in a value", (f) => f.request({ a: "b\0c" })],
    ["a blank before a value", (f) => f.request({ a: " b" })],
    ["a tab behind a value", (f) => f.request({ a: "b\t" })],
    ["Connection", (f) => f.request({ connection: "close" })],
    ["Keep-Alive", (f) => f.request({ "keep-alive": "timeout=5" })],
    ["Proxy-Connection", (f) => f.request({ "proxy-connection": "keep-alive" })],
    ["Transfer-Encoding", (f) => f.request({ ...POST, "transfer-encoding": "chunked" })],
    ["Upgrade", (f) => f.request({ upgrade: "h2c" })],
    ["TE that is more than trailers", (f) => f.request({ te: "trailers, gzip" })],
    ["two Host", (f) => [...f.request(), ["host", authority], ["host", authority]], 400, "host-ambiguous"],
    ["Content-Length of no number", (f) => f.request({ "content-length": "1x" }), 400, "length-ambiguous"],
    [
      "two Content-Length",
      (f) => [...f.request(), ["content-length", "0"], ["content-length", "0"]],
      400,
      "length-ambiguous",
    ],
    ["a list of lengths", (f) => f.request({ "content-length": "0, 0" }), 400, "length-ambiguous"],
    ["Content-Length and no body", (f) => f.request({ "content-length": "5" }), 400, "length-ambiguous"],
    ["another expectation", (f) => f.request({ expect: "tea" }), 417, "expectation-unsupported"],
    [
      "a :path that is too long",
      (f) => f.request({ ":path": `/${"a".repeat(1_100)}` }),
      431,
      "head-too-large",
    ],
    [
      "too many fields",
      (f) => [...f.request(), ...Array.from({ length: 30 }, (_, at) => [`x-${at}`, "1"] as const)],
      431,
      "head-too-large",
    ],
    ["fields that are too large", (f) => f.request({ a: "a".repeat(5_000) }), 431, "head-too-large"],
  ];
  test.each(cases.map((one) => ({ name: one[0], one })))("$name", async ({ one }) => {
    const [, make, status = 400, reason = "request-malformed"] = one;
    using frames = await open();
    frames.headers(1, make(frames));
    const outcome = await frames.outcome(1);
    expect(outcome).toEqual({ status, reason, reset: status === 431 ? 0 : PROTOCOL_ERROR });
    expect((await record()).decision).toMatchObject({
      kind: "malformed",
      verdict: "deny",
      reason,
      host: "origin.test",
    });
    // The next stream is none the worse.
    expect(await frames.headers(3).outcome(3)).toMatchObject({ status: 200 });
    expect(origin.received.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(origin.received).not.toMatch(/evil|smuggled|X: y/);
  });
});

describe("authority: CONNECT, SNI, :authority and Host agree, or the stream is refused", () => {
  test.each([
    [{ ":authority": "evil.test" }, 403, "host-mismatch"],
    [{ ":authority": "origin.test" }, 403, "host-mismatch"],
    [{ host: "evil.test" }, 403, "host-mismatch"],
    [{ ":authority": undefined, host: "evil.test" }, 403, "host-mismatch"],
    [{ ":scheme": "http" }, 403, "host-mismatch"],
    [{ host: "not a host" }, 400, "authority-malformed"],
  ])("%j", async (changes, status, reason) => {
    using frames = await open();
    const outcome = await frames.headers(1, frames.request(changes)).outcome(1);
    expect(outcome).toMatchObject({ status, reason });
    expect((await record()).decision).toMatchObject({ verdict: "deny", reason });
    expect(origin.connections).toBe(0);
  });

  test("in another spelling, or in Host alone, they do agree", async () => {
    using frames = await open();
    const upper = authority.toUpperCase();
    const same = frames.request({ host: upper });
    expect(await frames.headers(1, same).outcome(1)).toMatchObject({ status: 200 });
    const alone = frames.request({ ":authority": undefined, host: authority });
    expect(await frames.headers(3, alone).outcome(3)).toMatchObject({ status: 200 });
    const asterisk = frames.request({ ":method": "OPTIONS", ":path": "*" });
    expect(await frames.headers(5, asterisk).outcome(5)).toMatchObject({ status: 200 });
    expect(origin.received).toContain("OPTIONS * HTTP/1.1\r\n");
    expect(origin.received.match(new RegExp(`^Host: ${authority}\r$`, "gim"))).toHaveLength(3);
  });

  test("CONNECT within is refused", async () => {
    using frames = await open();
    const fields: Fields = [
      [":method", "CONNECT"],
      [":authority", authority],
    ];
    const outcome = await frames.headers(1, fields, END_HEADERS).outcome(1);
    expect(outcome).toMatchObject({ status: 403, reason: "tunnel-within-tunnel" });
    expect(origin.connections).toBe(0);
  });
});

describe("§8.1.1: the body is as long as announced", () => {
  test.each([
    ["longer", [frame(DATA, END_STREAM, 1, "abcdef")]],
    ["longer, and ended behind that", [frame(DATA, 0, 1, "abcdef"), frame(DATA, END_STREAM, 1, "g")]],
    ["longer, in a second frame", [frame(DATA, 0, 1, "abcde"), frame(DATA, END_STREAM, 1, "f")]],
    ["shorter", [frame(DATA, END_STREAM, 1, "abc")]],
    ["shorter, with trailers", [frame(DATA, 0, 1, "abc"), frame(HEADERS, 5, 1, block([["x", "1"]]))]],
    [
      "trailers that are not the end",
      [frame(DATA, 0, 1, "abcde"), frame(HEADERS, 4, 1, block([["x", "1"]]))],
    ],
    [
      "trailers with a pseudo-field",
      [frame(DATA, 0, 1, "abcde"), frame(HEADERS, 5, 1, block([[":path", "/"]]))],
    ],
    [
      "trailers with a length",
      [frame(DATA, 0, 1, "abcde"), frame(HEADERS, 5, 1, block([["content-length", "5"]]))],
    ],
    ["trailers in upper case", [frame(DATA, 0, 1, "abcde"), frame(HEADERS, 5, 1, block([["X", "1"]]))]],
  ])("%s", async (_name, rest) => {
    using frames = await open();
    frames.headers(1, frames.request({ ...POST, "content-length": "5" }), END_HEADERS).send(...rest);
    const outcome = await frames.outcome(1);
    expect(outcome).toMatchObject({ status: 400, reset: PROTOCOL_ERROR });
    const { completion } = await record();
    expect(["request-malformed", "length-ambiguous"]).toContain(completion?.["reason"]);
    expect(await frames.headers(3).outcome(3)).toMatchObject({ status: 200 });
    // Whatever of it reached the origin was cut.
    expect(origin.received).not.toMatch(/abcdef|x: 1/);
  });

  test("as announced, padded, in pieces, with an empty end", async () => {
    using frames = await open();
    frames
      .headers(1, frames.request({ ...POST, "content-length": "5" }), END_HEADERS)
      .send(frame(DATA, PADDED, 1, "\x03abc\0\0\0"), frame(DATA, 0, 1, "de"), frame(DATA, END_STREAM, 1));
    expect(await frames.outcome(1)).toEqual({ status: 200, reason: "" });
    expect(origin.received).toMatch(/\r\n\r\nabcde$/);
  });
});

describe("§3.4, §4, §5, §6: what ends the connection, with its code and a record", () => {
  const get = (f: Frames, stream = 1): Buffer => frame(HEADERS, 5, stream, block(f.request()));
  const post = (f: Frames, stream = 1): Buffer => frame(HEADERS, 4, stream, block(f.request(POST)));
  type Case = readonly [name: string, code: number, make: (frames: Frames) => readonly Buffer[]];
  const cases: readonly Case[] = [
    [
      "a frame of more than 16 KiB",
      FRAME_SIZE_ERROR,
      (f) => [post(f), frame(DATA, 0, 1, "x".repeat(16_385))],
    ],
    ["SETTINGS on a stream", PROTOCOL_ERROR, () => [frame(SETTINGS, 0, 1)]],
    ["SETTINGS of no whole length", FRAME_SIZE_ERROR, () => [frame(SETTINGS, 0, 0, "abc")]],
    [
      "SETTINGS that acknowledge and say more",
      FRAME_SIZE_ERROR,
      () => [frame(SETTINGS, ACK, 0, setting(1, 1))],
    ],
    [
      "a window beyond 2^31-1 in SETTINGS",
      FLOW_CONTROL_ERROR,
      () => [frame(SETTINGS, 0, 0, setting(4, 0x80000000))],
    ],
    ["a frame size below the least", PROTOCOL_ERROR, () => [frame(SETTINGS, 0, 0, setting(5, 100))]],
    ["ENABLE_PUSH of 2", PROTOCOL_ERROR, () => [frame(SETTINGS, 0, 0, setting(2, 2))]],
    ["PING on a stream", PROTOCOL_ERROR, () => [frame(PING, 0, 1, u32(1, 2))]],
    ["PING of another length", FRAME_SIZE_ERROR, () => [frame(PING, 0, 0, "abc")]],
    ["GOAWAY on a stream", PROTOCOL_ERROR, () => [frame(GOAWAY, 0, 1, u32(0, 0))]],
    ["GOAWAY that is too short", FRAME_SIZE_ERROR, () => [frame(GOAWAY, 0, 0, u32(0))]],
    ["PUSH_PROMISE", PROTOCOL_ERROR, () => [frame(PUSH_PROMISE, 4, 1, u32(2))]],
    ["DATA on stream 0", PROTOCOL_ERROR, () => [frame(DATA, 0, 0, "x")]],
    ["DATA on a stream that was never opened", PROTOCOL_ERROR, () => [frame(DATA, 0, 1, "x")]],
    ["padding longer than its frame", PROTOCOL_ERROR, (f) => [post(f), frame(DATA, PADDED, 1, "\x09abc")]],
    ["HEADERS on stream 0", PROTOCOL_ERROR, (f) => [get(f, 0)]],
    ["HEADERS on a stream of even number", PROTOCOL_ERROR, (f) => [get(f, 2)]],
    ["a priority that does not fit", PROTOCOL_ERROR, () => [frame(HEADERS, 5 | WITH_PRIORITY, 1, "abc")]],
    ["PRIORITY on stream 0", PROTOCOL_ERROR, () => [frame(PRIORITY, 0, 0, "abcde")]],
    ["PRIORITY of another length", FRAME_SIZE_ERROR, () => [frame(PRIORITY, 0, 1, "abc")]],
    ["RST_STREAM on stream 0", PROTOCOL_ERROR, () => [frame(RST_STREAM, 0, 0, u32(CANCEL))]],
    [
      "RST_STREAM on a stream that was never opened",
      PROTOCOL_ERROR,
      () => [frame(RST_STREAM, 0, 1, u32(CANCEL))],
    ],
    ["RST_STREAM of another length", FRAME_SIZE_ERROR, (f) => [post(f), frame(RST_STREAM, 0, 1, "abc")]],
    ["WINDOW_UPDATE of 0 for the connection", PROTOCOL_ERROR, () => [frame(WINDOW_UPDATE, 0, 0, u32(0))]],
    ["WINDOW_UPDATE of another length", FRAME_SIZE_ERROR, () => [frame(WINDOW_UPDATE, 0, 0, "abc")]],
    [
      "WINDOW_UPDATE on a stream that was never opened",
      PROTOCOL_ERROR,
      () => [frame(WINDOW_UPDATE, 0, 1, u32(1))],
    ],
    [
      "a window beyond 2^31-1 for the connection",
      FLOW_CONTROL_ERROR,
      () => [frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff))],
    ],
    ["CONTINUATION of nothing", PROTOCOL_ERROR, () => [frame(CONTINUATION, 4, 1)]],
    ["CONTINUATION behind a whole block", PROTOCOL_ERROR, (f) => [post(f), frame(CONTINUATION, 4, 1)]],
    [
      "CONTINUATION of another stream",
      PROTOCOL_ERROR,
      (f) => [frame(HEADERS, 1, 1, block(f.request())), frame(CONTINUATION, 4, 3)],
    ],
    [
      "anything else within a block",
      PROTOCOL_ERROR,
      (f) => [frame(HEADERS, 1, 1, block(f.request())), frame(PING, 0, 0, u32(1, 2))],
    ],
    [
      "an unknown frame within a block",
      PROTOCOL_ERROR,
      (f) => [frame(HEADERS, 1, 1, block(f.request())), frame(99, 0, 0)],
    ],
    ["no HPACK", COMPRESSION_ERROR, () => [frame(HEADERS, 5, 1, "\x80")]],
    ["an index that nobody gave", COMPRESSION_ERROR, () => [frame(HEADERS, 5, 1, "\xff\x00")]],
    ["a table larger than was agreed", COMPRESSION_ERROR, () => [frame(HEADERS, 5, 1, "\x3f\xe2\x1f")]],
    ["a field cut short", COMPRESSION_ERROR, () => [frame(HEADERS, 5, 1, "\x00\x05ab")]],
  ];
  test.each(cases)("%s", async (_name, code, make) => {
    using frames = await open();
    frames.send(...make(frames));
    expect(await frames.goaway()).toBe(code);
    await frames.until(() => false);
    expect(await malformed()).toEqual(["request-malformed"]);
    expect(origin.received).not.toContain("GET");
  });

  test("streams go up: an older one is not opened again", async () => {
    using frames = await open();
    expect(await frames.headers(5).outcome(5)).toMatchObject({ status: 200 });
    frames.headers(3);
    expect(await frames.goaway()).toBe(STREAM_CLOSED);
  });

  test("nothing more is said on a stream that was ended: DATA", async () => {
    origin.behave(() => {});
    using frames = await open();
    frames.headers(1).send(frame(DATA, END_STREAM, 1, "more"));
    expect(await frames.goaway()).toBe(STREAM_CLOSED);
  });

  test("nothing more is said on a stream that was ended: HEADERS", async () => {
    origin.behave(() => {});
    using frames = await open();
    frames.headers(1).headers(1);
    expect(await frames.goaway()).toBe(STREAM_CLOSED);
  });

  test.each([
    ["no preface", "GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"],
    ["another preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"],
  ])("%s", async (_name, octets) => {
    using frames = new Frames(await tls(), authority);
    frames.send(Buffer.from(octets));
    expect(await frames.goaway()).toBe(PROTOCOL_ERROR);
    expect((await record()).decision).toMatchObject({ kind: "malformed", reason: "request-malformed" });
  });

  test("a preface that is not followed by SETTINGS", async () => {
    using frames = new Frames(await tls(), authority);
    frames.send(PREFACE, frame(PING, 0, 0, u32(1, 2)));
    expect(await frames.goaway()).toBe(PROTOCOL_ERROR);
  });

  test("half a preface, and half a head: ended in time", async () => {
    using frames = new Frames(await tls(), authority);
    frames.send(PREFACE.subarray(0, 10));
    expect(await frames.goaway()).toBe(ENHANCE_YOUR_CALM);
    expect((await record()).decision).toMatchObject({ kind: "malformed", reason: "request-timeout" });
    await begin();
    using other = await open();
    other.send(frame(HEADERS, 1, 1, block(other.request())));
    expect(await other.goaway()).toBe(ENHANCE_YOUR_CALM);
    expect((await record()).decision).toMatchObject({ kind: "malformed", reason: "request-timeout" });
  });
});

describe("what is none of these goes on", () => {
  test("unknown frames and settings, priorities, padding, CONTINUATION, and frames split at every octet", async () => {
    using frames = await open(Buffer.concat([setting(99, 1), setting(1, 0), setting(3, 7)]));
    const whole = Buffer.concat([
      frame(99, 0xff, 0, "what"),
      frame(PRIORITY, 0, 1, "abcde"),
      frame(PRIORITY, 0, 999, "abcde"),
      frame(
        HEADERS,
        1 | PADDED | WITH_PRIORITY,
        1,
        Buffer.concat([
          Buffer.of(2),
          Buffer.from("abcde"),
          block(frames.request().slice(0, 2)),
          Buffer.from("\0\0"),
        ]),
      ),
      frame(CONTINUATION, 0, 1, block(frames.request().slice(2, 3))),
      frame(CONTINUATION, 4, 1, block(frames.request().slice(3))),
      frame(WINDOW_UPDATE, 0, 1, u32(5)),
    ]);
    for (const octet of whole) {
      frames.send(Buffer.of(octet));
      await new Promise(setImmediate);
    }
    expect(await frames.outcome(1)).toEqual({ status: 200, reason: "" });
  });

  test("RST_STREAM and WINDOW_UPDATE for a stream that is over", async () => {
    using frames = await open();
    await frames.headers(1).outcome(1);
    frames.send(
      frame(RST_STREAM, 0, 1, u32(CANCEL)),
      frame(WINDOW_UPDATE, 0, 1, u32(8)),
      frame(PRIORITY, 0, 1, "abcde"),
    );
    expect(await frames.headers(3).outcome(3)).toEqual({ status: 200, reason: "" });
  });

  test("what was under way when we ended a stream", async () => {
    using frames = await open();
    frames.headers(1, frames.request({ ...POST, "content-length": "x" }), END_HEADERS);
    await frames.until((one) => one.type === RST_STREAM);
    frames.send(frame(DATA, 0, 1, "abc"), frame(HEADERS, 5, 1, block([["x", "1"]])));
    expect(await frames.headers(3).outcome(3)).toEqual({ status: 200, reason: "" });
  });
});

describe("§5.1.2, §6.9: numbers and windows", () => {
  test("one stream too many is refused, recorded, and may be asked for again", async () => {
    origin.behave(() => {});
    using frames = await open();
    for (let at = 0; at < 6; at++) frames.headers(1 + at * 2);
    const refused = await frames.until((one) => one.type === RST_STREAM);
    expect([refused?.stream, refused?.payload.readUInt32BE(0)]).toEqual([11, REFUSED_STREAM]);
    const records = await recorded((all) => all.some((one) => one["reason"] === "too-many-streams"));
    expect(records.find((one) => one["reason"] === "too-many-streams")).toMatchObject({
      kind: "malformed",
      verdict: "deny",
    });
    frames.send(frame(RST_STREAM, 0, 1, u32(CANCEL)));
    origin.behave(answerRequests(() => OK));
    expect(await frames.headers(13).outcome(13)).toMatchObject({ status: 200 });
  });

  test("nothing is sent past a window of the stream, of SETTINGS, or of the connection", async () => {
    using frames = await open(setting(4, 2));
    frames.headers(1);
    const size = (): number =>
      frames.received.filter((one) => one.type === DATA).reduce((sum, one) => sum + one.payload.length, 0);
    await frames.until((one) => one.type === DATA);
    await frames.ping();
    expect(size()).toBe(2);
    frames.send(frame(SETTINGS, 0, 0, setting(4, 1)));
    await frames.ping();
    expect(size()).toBe(2);
    // Less than nothing: one short again.
    frames.send(frame(WINDOW_UPDATE, 0, 1, u32(1)));
    await frames.ping();
    expect(size()).toBe(2);
    frames.send(frame(WINDOW_UPDATE, 0, 1, u32(1)));
    expect(await frames.outcome(1)).toEqual({ status: 200, reason: "" });
    expect(size()).toBe(3);
  });

  test("a stream's own window beyond 2^31-1, or an update of nothing, ends the stream alone", async () => {
    origin.behave(() => {});
    using frames = await open();
    frames.headers(1).send(frame(WINDOW_UPDATE, 0, 1, u32(0x7fffffff)));
    expect(await frames.outcome(1)).toMatchObject({ reset: FLOW_CONTROL_ERROR });
    frames.headers(3).send(frame(WINDOW_UPDATE, 0, 3, u32(0)));
    expect(await frames.outcome(3)).toMatchObject({ reset: PROTOCOL_ERROR });
    origin.behave(answerRequests(() => OK));
    expect(await frames.headers(5).outcome(5)).toMatchObject({ status: 200 });
  });

  test("more than our window ends the stream", async () => {
    origin.behave((socket) => void socket.pause());
    using frames = await open();
    frames.headers(1, frames.request(POST), END_HEADERS);
    for (let at = 0; at < 40; at++) frames.send(frame(DATA, 0, 1, Buffer.alloc(16_384)));
    const ended = await frames.until((one) => one.type === RST_STREAM || one.type === GOAWAY);
    expect(ended?.payload.readUInt32BE(ended.type === RST_STREAM ? 0 : 4)).toBe(FLOW_CONTROL_ERROR);
  });
});

describe("§6.8: GOAWAY", () => {
  test("an idle connection is told so, and closed", async () => {
    using frames = await open();
    await frames.headers(1).outcome(1);
    expect(await frames.goaway()).toBe(0);
    await frames.until(() => false);
    expect(frames.closed).toBe(true);
  });

  test("a sandbox that says so is served what it asked for, then closed", async () => {
    using frames = await open();
    frames.headers(1).send(frame(GOAWAY, 0, 0, u32(0, 0)));
    await frames.until((one) => one.type === DATA && (one.flags & END_STREAM) !== 0);
    await frames.until(() => false);
    expect(frames.received.some((one) => one.type === HEADERS)).toBe(true);
  });
});
