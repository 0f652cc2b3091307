// Floods that cost their sender nothing: each ends with GOAWAY ENHANCE_YOUR_CALM, a record that says why, and nothing left open; and
// what merely resembles one goes on.

import { describe, expect, test } from "vitest";
import { exchanges, settled } from "../support/audit-records.ts";
import type { Frames } from "../support/http2-frames.ts";
import {
  block,
  CANCEL,
  CONTINUATION,
  DATA,
  END_HEADERS,
  ENHANCE_YOUR_CALM,
  frame,
  HEADERS,
  PING,
  PRIORITY,
  RST_STREAM,
  setting,
  SETTINGS,
  u32,
  WINDOW_UPDATE,
} from "../support/http2-octets.ts";
import { answerRequests, OK } from "../support/recording-origin.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const {
  frames: open,
  nothingOpen,
  origin,
  proxy,
  recorded,
} = await http2SetUp({ top: "limits: { body_idle: 3s, drain: 500ms }" });

type Flood = readonly [
  name: string,
  each: (frames: Frames, at: number) => Buffer,
  most: number,
  reason?: string,
];
const FLOODS: readonly Flood[] = [
  [
    "rapid reset (CVE-2023-44487)",
    (f, at) =>
      Buffer.concat([
        frame(HEADERS, 5, at * 2 + 1, block(f.request())),
        frame(RST_STREAM, 0, at * 2 + 1, u32(CANCEL)),
      ]),
    300,
  ],
  [
    "a reset that we are made to send",
    (f, at) => frame(HEADERS, 5, at * 2 + 1, block([...f.request(), ["connection", "x"]])),
    200,
  ],
  [
    "a reset that we are made to send, by WINDOW_UPDATE",
    (f, at) =>
      Buffer.concat([
        frame(HEADERS, 4, at * 2 + 1, block(f.request())),
        frame(WINDOW_UPDATE, 0, at * 2 + 1, u32(0)),
      ]),
    3_000,
  ],
  [
    "CONTINUATION without end (CVE-2024-27316)",
    (f, at) =>
      at === 0 ? frame(HEADERS, 1, 1, block(f.request())) : frame(CONTINUATION, 0, 1, block([["a", "b"]])),
    30,
  ],
  [
    "CONTINUATION with nothing in it",
    (f, at) => (at === 0 ? frame(HEADERS, 1, 1, block(f.request())) : frame(CONTINUATION, 0, 1)),
    30,
  ],
  [
    "large CONTINUATION",
    (f, at) =>
      at === 0
        ? frame(HEADERS, 1, 1, block(f.request()))
        : frame(CONTINUATION, 0, 1, block([["a", "b".repeat(16_000)]])),
    30,
    "head-too-large",
  ],
  ["PING", (_f, at) => frame(PING, 0, 0, u32(1, at)), 3_000],
  ["SETTINGS", () => frame(SETTINGS, 0, 0, setting(4, 65_535)), 300],
  ["acknowledgements of nothing", () => frame(SETTINGS, 1, 0), 3_000],
  ["PRIORITY", (_f, at) => frame(PRIORITY, 0, at * 2 + 1, "abcde"), 3_000],
  ["WINDOW_UPDATE", () => frame(WINDOW_UPDATE, 0, 0, u32(1)), 3_000],
  ["unknown frames", () => frame(200, 0, 0, "?"), 3_000],
  [
    "empty DATA",
    (f, at) =>
      at === 0 ? frame(HEADERS, END_HEADERS, 1, block(f.request({ ":method": "POST" }))) : frame(DATA, 0, 1),
    3_000,
  ],
  [
    "DATA of padding alone",
    (f, at) =>
      at === 0
        ? frame(HEADERS, END_HEADERS, 1, block(f.request({ ":method": "POST" })))
        : frame(DATA, 8, 1, Buffer.of(1, 0)),
    3_000,
  ],
  [
    "RST_STREAM of streams that are over",
    (f, at) => (at === 0 ? frame(HEADERS, 5, 1, block(f.request())) : frame(RST_STREAM, 0, 1, u32(CANCEL))),
    3_000,
  ],
];

test.each(FLOODS.map((flood) => ({ name: flood[0], flood })))(
  "$name",
  { timeout: 30_000 },
  async ({ flood }) => {
    const [, each, most, reason = "too-many-frames"] = flood;
    using frames = await open();
    for (let at = 0; at < most * 3 && !frames.closed; at += 1) {
      frames.send(each(frames, at));
      if (at % 64 === 63) await new Promise(setImmediate);
    }
    expect(await frames.goaway()).toBe(ENHANCE_YOUR_CALM);
    await frames.until(() => false);
    // One record for the flood; streams that it opened have theirs, and they are bounded too.
    const decisions = exchanges(
      await recorded(
        (all) => settled(all) && all.some((one) => one["reason"] === reason && one["kind"] === "malformed"),
      ),
    );
    expect(decisions.filter(({ decision }) => decision["reason"] === reason)).toHaveLength(1);
    expect(decisions.length).toBeLessThan(400);
    frames[Symbol.dispose]();
    await nothingOpen();
    expect(await proxy.metrics()).toContain(`sallyport_limits_total{reason="${reason}"}`);
  },
);

describe("what unfolds to more than it was", () => {
  test("a field section of references to one large entry is counted, not kept", async () => {
    using frames = await open();
    // Indexed once, then named 16,000 times by one octet each: 64 MB unfolded.
    const entry = Buffer.concat([Buffer.of(0x40), block([["bomb", "x".repeat(3_900)]]).subarray(1)]);
    const before = process.memoryUsage().rss;
    frames.send(
      frame(HEADERS, 1, 1, Buffer.concat([block(frames.request()), entry])),
      frame(CONTINUATION, 4, 1, Buffer.alloc(16_000, 0xbe)),
    );
    expect(await frames.outcome(1)).toMatchObject({ status: 431, reason: "head-too-large" });
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    expect(await frames.headers(3).outcome(3)).toMatchObject({ status: 200 });
  });
});

describe("a sandbox that does not read", () => {
  test("its windows: each stream is reset in time, and none of it is held for long", async () => {
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        socket.write(Buffer.alloc(200_000));
      });
    });
    using frames = await open();
    for (let at = 0; at < 50; at++) frames.headers(at * 2 + 1);
    await expect
      .poll(() => frames.received.filter((one) => one.type === RST_STREAM).length, { timeout: 10_000 })
      .toBe(50);
    frames[Symbol.dispose]();
    await recorded();
    await nothingOpen();
  });

  test("its socket: what it asks for is not answered without end", async () => {
    using frames = await open();
    frames.socket.pause();
    let sent = 0;
    const pings = Buffer.concat(Array.from({ length: 1_000 }, () => frame(PING, 0, 0, u32(1, 2))));
    // Within the allowance of what carries nothing, so that only the socket's own bound is left.
    for (let at = 0; at < 20 && !frames.socket.writableNeedDrain; at++) {
      frames.send(pings);
      sent += 1_000;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(sent).toBeGreaterThan(0);
    frames.socket.destroy();
    await nothingOpen();
  });

  test("its socket, with windows as wide as they go: each origin is held back, each stream ends in time", async () => {
    const STREAMS = 20;
    const SIZE = 64 * 1024 * 1024;
    const sent = new Map<unknown, number>();
    origin.behave((socket) => {
      const chunk = Buffer.alloc(65_536);
      const pump = (): void => {
        for (let at = sent.get(socket) ?? 0; at < SIZE && !socket.destroyed; at += chunk.length) {
          sent.set(socket, at + chunk.length);
          if (!socket.write(chunk)) return void socket.once("drain", pump);
        }
      };
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
        pump();
      });
    });
    const wide = setting(4, 0x7fffffff);
    using frames = await open(wide);
    frames.send(frame(WINDOW_UPDATE, 0, 0, u32(0x7fffffff - 65_535)));
    frames.socket.pause();
    for (let at = 0; at < STREAMS; at++) frames.headers(at * 2 + 1);
    const records = await recorded(
      (all) => all.filter(({ reason }) => reason === "request-timeout").length >= STREAMS,
    );
    const cut = exchanges(records).filter(({ decision }) => decision["kind"] === "request");
    expect(cut).toHaveLength(STREAMS);
    for (const { completion } of cut)
      expect(completion).toMatchObject({ outcome: "refused", reason: "request-timeout" });
    // What is under way is the kernel's, and less than a part of what they had to say.
    expect(Math.max(...sent.values())).toBeLessThan(SIZE / 2);
    frames.socket.destroy();
    await nothingOpen();
  });
});

describe("what resembles a flood and is none", () => {
  test("a large download that is read in small windows", async () => {
    const size = 2 * 1024 * 1024;
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`);
        socket.end(Buffer.alloc(size));
      });
    });
    using frames = await open();
    let octets = 0;
    frames.headers(1);
    for (
      let at = 0;
      octets < size && !frames.closed && !frames.received.some((one) => one.type === RST_STREAM);
    ) {
      await frames.until((one) => frames.received.indexOf(one) >= at);
      for (; at < frames.received.length; at++) {
        const one = frames.received[at];
        if (one?.type !== DATA || one.payload.length === 0) continue;
        octets += one.payload.length;
        const room = u32(one.payload.length);
        frames.send(frame(WINDOW_UPDATE, 0, 0, room), frame(WINDOW_UPDATE, 0, 1, room));
      }
    }
    expect(octets).toBe(size);
    expect((await frames.outcome(1)).goaway).toBeUndefined();
  });

  test("a hundred requests at once that are given up", async () => {
    origin.behave(() => {});
    using frames = await open();
    for (let at = 0; at < 100; at++) frames.headers(at * 2 + 1);
    await frames.ping();
    for (let at = 0; at < 100; at++) frames.send(frame(RST_STREAM, 0, at * 2 + 1, u32(CANCEL)));
    origin.behave(answerRequests(() => OK));
    expect(await frames.headers(201).outcome(201)).toEqual({ status: 200, reason: "" });
  });
});
