// RFC 9113 and RFC 7541 towards sandboxes, as h2spec asks for them: the states of a stream, the sizes of frames, windows, SETTINGS and
// PING, and field blocks that cannot be read. Beside rfc9113-requests.test.ts; together they ask all that h2spec does, less what RFC 9113
// took out (priorities). Each has its code, is an error of the stream or of the connection, and reaches no origin.

import { describe, expect, test } from "vitest";
import type { Frames } from "../support/http2-frames.ts";
import {
  ACK,
  block,
  CANCEL,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Fields,
  FLOW_CONTROL_ERROR,
  frame,
  FRAME_SIZE_ERROR,
  GOAWAY,
  HEADERS,
  PADDED,
  PING,
  PRIORITY,
  PROTOCOL_ERROR,
  RST_STREAM,
  setting,
  SETTINGS,
  STREAM_CLOSED,
  u32,
  WINDOW_UPDATE,
} from "../support/http2-octets.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const {
  frames: open,
  origin,
  malformed: reasons,
} = await http2SetUp({
  top: "http2: always\nlimits: { drain: 500ms }",
});

/** What ended the connection is on record, once. */
const malformed = async (reason = "request-malformed"): Promise<void> =>
  expect(await reasons()).toEqual([reason]);

const POST = { ":method": "POST" };
const get = (f: Frames, stream = 1): Buffer => frame(HEADERS, 5, stream, block(f.request()));
const post = (f: Frames, stream = 1): Buffer => frame(HEADERS, 4, stream, block(f.request(POST)));
const cancel = (stream = 1): Buffer => frame(RST_STREAM, 0, stream, u32(CANCEL));
const body = (stream = 1): Buffer => frame(DATA, END_STREAM, stream, "late");
const trailers = (stream = 1): Buffer => frame(HEADERS, 5, stream, block([["x", "1"]]));

type Case = readonly [name: string, code: number, make: (frames: Frames) => readonly Buffer[]];

describe("what ends the connection", () => {
  const half = (f: Frames): Buffer => frame(HEADERS, END_STREAM, 1, block(f.request()));
  const cases: readonly Case[] = [
    ["§4.2: HEADERS of more than 16 KiB", FRAME_SIZE_ERROR, () => [frame(HEADERS, 5, 1, "x".repeat(16_385))]],
    [
      "§4.2: SETTINGS of more than 16 KiB",
      FRAME_SIZE_ERROR,
      () => [frame(SETTINGS, 0, 0, "x".repeat(16_386))],
    ],
    ["§4.3: HEADERS of another stream within a block", PROTOCOL_ERROR, (f) => [half(f), get(f, 3)]],
    ["§4.3: PRIORITY within a block", PROTOCOL_ERROR, (f) => [half(f), frame(PRIORITY, 0, 1, "abcde")]],
    ["§4.3: DATA within a block", PROTOCOL_ERROR, (f) => [half(f), frame(DATA, 0, 1, "x")]],
    ["§5.1, idle: CONTINUATION", PROTOCOL_ERROR, () => [frame(CONTINUATION, END_HEADERS, 1, "x")]],
    ["§5.1, closed by RST_STREAM: DATA", STREAM_CLOSED, (f) => [post(f), cancel(), body()]],
    ["§5.1, closed by RST_STREAM: HEADERS", STREAM_CLOSED, (f) => [post(f), cancel(), trailers()]],
    [
      "§5.1, closed by RST_STREAM: CONTINUATION",
      PROTOCOL_ERROR,
      (f) => [post(f), cancel(), frame(CONTINUATION, END_HEADERS, 1, block([["x", "1"]]))],
    ],
    [
      "§5.1.1: an idle stream below one that was opened is closed, not idle",
      STREAM_CLOSED,
      (f) => [post(f, 5), frame(DATA, 0, 3, "x")],
    ],
    ["§6.2: padding longer than HEADERS", PROTOCOL_ERROR, () => [frame(HEADERS, 5 | PADDED, 1, "\x09abc")]],
    ["§6.1: DATA of nothing that is padded", PROTOCOL_ERROR, (f) => [post(f), frame(DATA, PADDED, 1)]],
    [
      "§6.5.2: a frame size above the most",
      PROTOCOL_ERROR,
      () => [frame(SETTINGS, 0, 0, setting(5, 2 ** 24))],
    ],
    [
      "§6.9: WINDOW_UPDATE of another length, on a stream",
      FRAME_SIZE_ERROR,
      (f) => [post(f), frame(WINDOW_UPDATE, 0, 1, "abc")],
    ],
    [
      "§6.9.2: SETTINGS by which the window of a stream would pass 2^31-1",
      FLOW_CONTROL_ERROR,
      (f) => [post(f), frame(WINDOW_UPDATE, 0, 1, u32(1)), frame(SETTINGS, 0, 0, setting(4, 0x7fffffff))],
    ],
    [
      "§6.10: CONTINUATION behind one that ended the block",
      PROTOCOL_ERROR,
      (f) => [
        frame(HEADERS, 0, 1, block(f.request(POST))),
        frame(CONTINUATION, END_HEADERS, 1),
        frame(CONTINUATION, END_HEADERS, 1),
      ],
    ],
    [
      "§6.10: CONTINUATION behind DATA",
      PROTOCOL_ERROR,
      (f) => [post(f), frame(DATA, 0, 1, "x"), frame(CONTINUATION, END_HEADERS, 1)],
    ],
    [
      "§6.10: CONTINUATION on stream 0",
      PROTOCOL_ERROR,
      (f) => [half(f), frame(CONTINUATION, END_HEADERS, 0)],
    ],
  ];
  test.each(cases)("%s", async (_name, code, make) => {
    origin.behave(() => {});
    using frames = await open();
    frames.send(...make(frames));
    expect(await frames.goaway()).toBe(code);
    await frames.until(() => false);
    await malformed();
    expect(origin.received).not.toMatch(/late|x: 1/);
  });

  test.each([
    ["DATA", body],
    ["HEADERS", trailers],
  ])("§5.1, closed by END_STREAM both ways: %s", async (_name, late) => {
    using frames = await open();
    await frames.headers(1).outcome(1);
    frames.send(late(1));
    expect(await frames.goaway()).toBe(STREAM_CLOSED);
    await malformed();
    expect(origin.received).not.toMatch(/late|x: 1/);
  });
});

describe("RFC 7541: a field block that cannot be read ends the connection", () => {
  /** A literal, with the value as it is given: its Huffman code. */
  const huffman = (...octets: number[]): Buffer => Buffer.of(0, 1, 0x78, 0x80 | octets.length, ...octets);
  const cases: readonly (readonly [name: string, octets: Buffer])[] = [
    ["§2.3.3: an index beyond both tables", Buffer.of(0xc6)],
    ["§2.3.3: a name's index beyond both tables", Buffer.of(0x7f, 0x07, 1, 0x78)],
    ["§4.2: a change of the table's size behind a field", Buffer.of(0x20)],
    ["§5.1: a number of more than 32 bits", Buffer.of(0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)],
    ["§5.2: padding of more than 7 bits", huffman(0x1f, 0xff)],
    ["§5.2: padding by zeros", huffman(0x18)],
    ["§5.2: EOS within", huffman(0xff, 0xff, 0xff, 0xff)],
    ["§6.1: index 0", Buffer.of(0x80)],
    ["§6.3: a table larger than SETTINGS_HEADER_TABLE_SIZE", Buffer.of(0x3f, 0xe2, 0x1f)],
  ];
  test.each(cases)("%s", async (name, octets) => {
    using frames = await open();
    const first = name.startsWith("§6.3");
    const pieces = first ? [octets, block(frames.request())] : [block(frames.request()), octets];
    frames.send(frame(HEADERS, 5, 1, Buffer.concat(pieces)));
    expect(await frames.goaway()).toBe(COMPRESSION_ERROR);
    await malformed();
    expect(origin.connections).toBe(0);
  });

  test("§5.2: the same code, padded as it must be, and a table of the size that was agreed, are read", async () => {
    using frames = await open();
    const resized = Buffer.of(0x20, 0x3f, 0xe1, 0x1f);
    frames.send(frame(HEADERS, 5, 1, Buffer.concat([resized, block(frames.request()), huffman(0x1f)])));
    expect(await frames.outcome(1)).toEqual({ status: 200, reason: "" });
    expect(origin.received).toContain("x: a\r\n");
  });

  test("§2.3.2: what one stream indexed stands for the next, also where its request was refused", async () => {
    using frames = await open();
    const indexed = Buffer.concat([Buffer.of(0x40), block([["x-kept", "value"]]).subarray(1)]);
    const refused = block(frames.request({ connection: "close" }));
    frames.send(frame(HEADERS, 5, 1, Buffer.concat([refused, indexed])));
    expect(await frames.outcome(1)).toMatchObject({ status: 400, reset: PROTOCOL_ERROR });
    frames.send(frame(HEADERS, 5, 3, Buffer.concat([block(frames.request()), Buffer.of(0xbe)])));
    expect(await frames.outcome(3)).toMatchObject({ status: 200 });
    expect(origin.received).toContain("x-kept: value\r\n");
  });
});

describe("§8: a malformed request ends its stream alone", () => {
  const cases: readonly (readonly [name: string, make: (f: Frames) => Fields, reason?: string])[] = [
    ["two :scheme", (f) => [...f.request(), [":scheme", "https"]]],
    ["HTTP2-Settings and an upgrade", (f) => f.request({ "http2-settings": "AAMAAABk", upgrade: "h2c" })],
    ["TE of trailers, twice over", (f) => f.request({ te: "trailers;q=0.5" })],
    ["§8.5: CONNECT with a path", (f) => f.request({ ":method": "CONNECT" })],
    ["§8.5: CONNECT without :authority", () => [[":method", "CONNECT"]], "host-ambiguous"],
  ];
  test.each(cases.map((one) => ({ name: one[0], one })))("$name", async ({ one: [, make, reason] }) => {
    using frames = await open();
    expect(await frames.headers(1, make(frames)).outcome(1)).toMatchObject({
      status: 400,
      reset: PROTOCOL_ERROR,
    });
    await malformed(reason);
    expect(await frames.headers(3).outcome(3)).toMatchObject({ status: 200 });
    expect(origin.received.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  test.each([
    ["connection", "x-other"],
    ["transfer-encoding", "chunked"],
    ["x", "a\r\nHost: evil.test"],
  ])("trailers with %s", async (name, value) => {
    using frames = await open();
    frames.send(post(frames), frame(DATA, 0, 1, "abc"), frame(HEADERS, 5, 1, block([[name, value]])));
    expect(await frames.outcome(1)).toMatchObject({ status: 400, reset: PROTOCOL_ERROR });
    expect(await frames.headers(3).outcome(3)).toMatchObject({ status: 200 });
    expect(origin.received).not.toMatch(/evil|x-other|\r\n0\r\n\r\n/);
  });
});

describe("what is none of these goes on", () => {
  test("§4.1, §4.2: 16 KiB to the octet, flags that mean nothing, and the reserved bit", async () => {
    using frames = await open();
    const reserved = get(frames, 3);
    reserved.writeUInt32BE(0x80000003, 5);
    frames.send(post(frames), frame(DATA, END_STREAM, 1, "y".repeat(16_384)));
    expect(await frames.outcome(1)).toEqual({ status: 200, reason: "" });
    frames.send(frame(PING, 0xfe, 0, u32(7, 7)), reserved);
    expect(await frames.outcome(3)).toEqual({ status: 200, reason: "" });
    expect(origin.received).toContain("y".repeat(16_384));
  });

  test("§6.5.3: SETTINGS are acknowledged, each once, and the last of several values holds", async () => {
    using frames = await open();
    frames.send(frame(SETTINGS, 0, 0, Buffer.concat([setting(4, 100), setting(4, 1)])));
    await frames.headers(1).until((one) => one.type === DATA);
    await frames.ping();
    const sent = frames.received.filter((one) => one.type === DATA);
    expect(sent.map(({ payload }) => payload.length)).toEqual([1]);
    const acknowledged = frames.received.filter((one) => one.type === SETTINGS && one.flags === ACK);
    expect(acknowledged).toHaveLength(2);
    frames.send(frame(WINDOW_UPDATE, 0, 1, u32(100)));
    expect(await frames.outcome(1)).toEqual({ status: 200, reason: "" });
  });

  test("§6.7: PING is answered with its own octets, an answer to none is not", async () => {
    using frames = await open();
    frames.send(frame(PING, ACK, 0, u32(1, 1)), frame(PING, 0, 0, u32(2, 2)));
    await frames.ping();
    const answers = frames.received.filter((one) => one.type === PING);
    expect(answers.map(({ flags, payload }) => [flags, payload.readUInt32BE(4)])).toEqual([
      [ACK, 2],
      [ACK, 1],
    ]);
    expect(answers[0]?.payload).toEqual(u32(2, 2));
  });

  test("§7: codes that nobody knows, in RST_STREAM and in GOAWAY", async () => {
    using frames = await open();
    frames.send(post(frames), frame(RST_STREAM, 0, 1, u32(0xff)));
    expect(await frames.headers(3).outcome(3)).toEqual({ status: 200, reason: "" });
    frames.headers(5).send(frame(GOAWAY, 0, 0, u32(0, 0xff)));
    await frames.until((one) => one.stream === 5 && one.type === DATA && (one.flags & END_STREAM) !== 0);
    await frames.until(() => false);
    expect(frames.received.some((one) => one.stream === 5 && one.type === HEADERS)).toBe(true);
  });
});
