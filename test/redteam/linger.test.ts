// A sandbox that went away in a way that its connection does not tell.

import { Duplex } from "node:stream";
import { afterEach, expect, test, vi } from "vitest";
import type { ByteStream } from "../../src/proxy/downstream.ts";
import { lingerAndClose } from "../../src/proxy/linger.ts";

afterEach(() => vi.useRealTimers());

/** Takes in nothing, and says nothing of it. */
function stuck(): ByteStream {
  const socket = new Duplex({ read() {}, write() {} });
  return Object.assign(socket, { setTimeout() {}, destroySoon() {}, resetAndDestroy() {} });
}

test.each([
  { ended: "before", ms: 12_000 },
  { ended: "meanwhile", ms: 12_000 },
  { ended: "never", ms: 610_000 },
])("is let go: it ended its side $ended", async ({ ended, ms }) => {
  vi.useFakeTimers();
  const socket = stuck();
  socket.resume();
  const end = async (): Promise<void> => {
    socket.push(null);
    await vi.advanceTimersByTimeAsync(1);
  };
  if (ended === "before") await end();
  socket.write("an answer");
  lingerAndClose(socket, 300_000);
  if (ended === "meanwhile") await end();
  await vi.advanceTimersByTimeAsync(4_000);
  expect(socket.destroyed).toBe(false);
  if (ended === "never") await vi.advanceTimersByTimeAsync(250_000);
  expect(socket.destroyed).toBe(false);
  await vi.advanceTimersByTimeAsync(ms);
  expect(socket.destroyed).toBe(true);
});
