import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { type Duplex, duplexPair, PassThrough } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { connect as connectTls, TLSSocket } from "node:tls";
import * as fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { readDirectly, stopReading } from "../../src/net/direct-read.ts";
import { eventually } from "../support/eventually.ts";
import { createCa } from "../support/pki.ts";

const SEED = 20_261_127;
const ca = createCa();
const identity = ca.issue({ names: ["a.test"] });

/** Both ends of a connection over loopback; it is the near one that is read. */
type Pair = { readonly near: Socket; readonly far: Socket };

async function tcp(): Promise<Pair> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const far = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [near] = (await once(server, "connection")) as [Socket];
  server.close();
  return { near, far };
}

/** Node then reads from a stream and not from a socket, amid whatever else is going on. */
function tlsOverStream(): Promise<Pair> {
  const [near, far] = duplexPair();
  return tlsOver({ near, far });
}

async function tls(): Promise<Pair> {
  return tlsOver(await tcp());
}

async function tlsOver({ near: below, far: above }: { near: Duplex; far: Duplex }): Promise<Pair> {
  const near = new TLSSocket(below, { isServer: true, cert: identity.chain, key: identity.key });
  const far = connectTls({ socket: above, servername: "a.test", ca: ca.cert });
  await Promise.all([once(near, "secure"), once(far, "secureConnect")]);
  return { near, far };
}

function octets(length: number, from = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 7 + from) % 251));
}

function gather(): { readonly sink: (chunk: Buffer) => void; readonly all: () => Buffer } {
  const chunks: Buffer[] = [];
  return { sink: (chunk) => void chunks.push(chunk), all: () => Buffer.concat(chunks) };
}

describe.each([
  ["TCP", tcp],
  ["TLS", tls],
  ["TLS over a stream", tlsOverStream],
])("%s", (_name, pair) => {
  test("octets come past the stream's queue, and its end behind them", async () => {
    const { near, far } = await pair();
    const emit = vi.spyOn(near, "emit");
    const { sink, all } = gather();
    readDirectly(near, sink);
    far.end(octets(100_000));
    await once(near, "end");
    expect(all().equals(octets(100_000))).toBe(true);
    // Or this Node keeps elsewhere what it is told of where to read to.
    expect(emit.mock.calls.map(([event]) => String(event))).not.toContain("data");
    near.destroy();
  });

  test("what was read stays as it was while other sockets are read", async () => {
    const pairs = await Promise.all(Array.from({ length: 8 }, pair));
    const read = pairs.map(({ near }) => {
      const { sink, all } = gather();
      readDirectly(near, sink);
      return all;
    });
    for (let part = 0; part < 20; part++) {
      for (const [index, { far }] of pairs.entries()) far.write(octets(700, index * 31 + part));
      await turn();
    }
    for (const [index, { near, far }] of pairs.entries()) {
      const sent = Buffer.concat(Array.from({ length: 20 }, (_, part) => octets(700, index * 31 + part)));
      await eventually(() => expect(read[index]?.().equals(sent)).toBe(true));
      near.destroy();
      far.destroy();
    }
  });

  test("what waits keeps no more than itself", async () => {
    const { near, far } = await pair();
    const kept: Buffer[] = [];
    readDirectly(near, (chunk) => void kept.push(chunk));
    for (const length of [1, 65, 1000, 5000]) {
      far.write(octets(length));
      await eventually(() => expect(kept.at(-1)?.length).toBe(length));
    }
    expect(kept.map(({ buffer }) => buffer.byteLength)).toEqual(kept.map(({ length }) => length));
    near.destroy();
  });

  test("what a glance takes is lent, and comes to nobody else", async () => {
    const { near, far } = await pair();
    const { sink, all } = gather();
    const lent: { readonly buffer: ArrayBufferLike; readonly text: string }[] = [];
    readDirectly(near, sink, (chunk) => {
      if (chunk[0] !== 0x67) return false;
      lent.push({ buffer: chunk.buffer, text: chunk.toString("latin1") });
      return true;
    });
    for (const text of ["glance", "sink", "glance again", "sink again"]) {
      const before = all().length + lent.length;
      far.write(text);
      await eventually(() => expect(all().length + lent.length).toBeGreaterThan(before));
    }
    expect(all().toString()).toBe("sinksink again");
    expect(lent.map(({ text }) => text)).toEqual(["glance", "glance again"]);
    // The one buffer both times: nothing was made for it.
    expect(lent[1]?.buffer).toBe(lent[0]?.buffer);
    near.pause();
    far.write("glance in a pause");
    await turn();
    stopReading(near, sink);
    near.resume();
    near.on("data", sink);
    await eventually(() => expect(all().toString()).toBe("sinksink againglance in a pause"));
    near.destroy();
    far.destroy();
  });

  test("with any pauses the same octets come in the same order, and none in a pause", async () => {
    const step = fc.record({ size: fc.nat(40_000), pause: fc.boolean(), turns: fc.nat(3) });
    await fc.assert(
      fc.asyncProperty(fc.nat(3000), fc.array(step, { minLength: 1, maxLength: 12 }), async (held, steps) => {
        const { near, far } = await pair();
        const { sink, all } = gather();
        const sent = [octets(held)];
        if (held > 0) near.unshift(octets(held));
        let calls = 0;
        readDirectly(near, (chunk) => {
          expect(near.isPaused()).toBe(false);
          sink(chunk);
          if (steps[calls++ % steps.length]?.pause !== true) return;
          near.pause();
          if (calls % 2 === 0) setImmediate(() => near.resume());
          else process.nextTick(() => near.resume());
        });
        for (const [index, { size, turns }] of steps.entries()) {
          sent.push(octets(size, index));
          far.write(octets(size, index));
          for (let count = 0; count < turns; count++) await turn();
        }
        far.end();
        if (!near.readableEnded) await once(near, "end");
        expect(all().equals(Buffer.concat(sent))).toBe(true);
        near.destroy();
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  test("whoever reads on as a stream gets what is left, what was put back first", async () => {
    const { near, far } = await pair();
    const first = gather();
    readDirectly(near, first.sink);
    far.write(octets(500));
    await eventually(() => expect(first.all().length).toBe(500));
    near.pause();
    stopReading(near, first.sink);
    near.unshift(first.all().subarray(400));
    far.write(octets(70_000, 3));
    await turn();
    const second = gather();
    near.on("data", second.sink);
    near.resume();
    far.end();
    await once(near, "end");
    expect(first.all().length).toBe(500);
    expect(second.all().equals(Buffer.concat([octets(500).subarray(400), octets(70_000, 3)]))).toBe(true);
    near.destroy();
  });
});

test("a stream that is no socket is read as ever", async () => {
  const stream = new PassThrough();
  const { sink, all } = gather();
  readDirectly(stream, sink);
  stream.write(octets(10));
  await eventually(() => expect(all().equals(octets(10))).toBe(true));
  stopReading(stream, sink);
  expect(stream.listenerCount("data")).toBe(0);
});
