// Frames at random, half of them sensible: the proxy never fails, every record has its end, nothing stays open, and the origin sees
// whole requests or cut connections, never anything in between.

import { expect, test } from "vitest";
import { exchanges } from "../support/audit-records.ts";
import type { Frames } from "../support/http2-frames.ts";
import { block, type Fields, frame, u32 } from "../support/http2-octets.ts";
import { answerRequests, OK } from "../support/recording-origin.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const {
  frames: open,
  nothingOpen,
  origin,
  recorded,
} = await http2SetUp({
  top: "http2: always\nlimits: { body_idle: 1s, drain: 500ms }",
  behaviour: answerRequests((head) =>
    head.startsWith("HEAD") ? OK.replace("ok\n", "") : OK.replace("\r\n", "\r\nX-Answer: yes\r\n"),
  ),
});

/** Numbers that look random and are the same each time (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const ODD: Fields = [
  ["content-length", "3"],
  ["content-length", "0"],
  ["host", "origin.test"],
  ["te", "trailers"],
  ["cookie", "a=b"],
  ["expect", "100-continue"],
  ["connection", "close"],
  ["a", "b\r\nc: d"],
  [":path", "/x"],
  [":protocol", "websocket"],
  ["X", "y"],
];

type Sandbox = { readonly frames: Frames; readonly pick: (below: number) => number; last: number };

function anyFrame(sandbox: Sandbox): Buffer {
  const { frames, pick } = sandbox;
  const odd = pick(25) === 0;
  // Mostly the stream that is next for a head, and one that is open for the rest.
  const kind = pick(odd ? 12 : 9);
  const next = kind < 4 && (sandbox.last === 0 || pick(8) > 0);
  if (next) sandbox.last += 2;
  const stream = odd ? pick(12) : Math.max(1, next ? sandbox.last - 1 : sandbox.last - 1 - 2 * pick(2));
  const fields = [...frames.request({ ":method": ["GET", "POST", "HEAD", "CONNECT"][pick(4)] ?? "GET" })];
  for (let more = pick(4) - 2; more > 0; more--)
    fields.splice(pick(fields.length + 1), 0, ODD[pick(ODD.length)]!);
  const flags = odd ? pick(256) : pick(2);
  switch (kind) {
    case 0:
    case 1:
    case 2:
    case 3:
      return frame(1, flags | (pick(20) === 0 ? 0 : 4), stream, block(fields));
    case 4:
    case 5:
    case 6:
      return frame(0, flags, stream, Buffer.alloc(pick(2) === 0 ? 3 : pick(16_000), "x"));
    case 7:
      return frame(3, 0, stream, u32(pick(14)));
    case 8:
      return frame(8, 0, stream, u32(pick(30) === 0 ? 0x7fffffff : 1 + pick(100_000)));
    case 9:
      return frame(9, flags, stream, block(fields.slice(0, 1)));
    case 10:
      return frame(4, pick(2), 0, Buffer.concat([Buffer.of(0, pick(9)), u32(pick(70_000))]));
    default:
      return frame(pick(12), flags, stream, Buffer.alloc(pick(20), pick(256)));
  }
}

test("frames at random", { timeout: 120_000 }, async () => {
  const run = async (seed: number): Promise<void> => {
    const pick = random(seed);
    using frames = await open();
    const sandbox = { frames, pick, last: 0 };
    for (let sent = pick(25); sent >= 0 && !frames.closed; sent--) {
      frames.send(anyFrame(sandbox));
      if (pick(3) === 0) await new Promise((resolve) => setTimeout(resolve, pick(4)));
    }
    if (pick(2) === 0)
      await Promise.race([frames.ping(), new Promise((resolve) => setTimeout(resolve, 200))]);
  };
  for (let seed = 1; seed <= 320; seed += 16)
    await Promise.all(Array.from({ length: 16 }, (_, at) => run(seed + at)));
  const records = await recorded();
  expect(exchanges(records).filter(({ completions }) => completions !== 1)).toEqual([]);
  const reasons = new Set(records.map((one) => one["reason"]));
  expect(
    [...reasons].filter((reason) => reason === "internal-error" || reason === "audit-unavailable"),
  ).toEqual([]);
  await nothingOpen();
  // What begins a line at the origin was written by us.
  expect(origin.received).not.toMatch(/^(?:c: d|connection: close|transfer-encoding: (?!chunked))/im);
  expect(origin.received).toMatch(/^GET \//m);
});
