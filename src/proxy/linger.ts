// Closes a connection so that what was written to it can still be read: a reset would hide the answer from a sandbox that
// is still sending (RFC 9112 §9.6). Never waits without a bound.

import type { ByteStream } from "./downstream.ts";

/**
 * Everything written is sent; then what still arrives is read away for a while. `stallMs`: for a peer that reads nothing. One
 * that has ended its side may be gone, which TLS does not always tell: it is given less.
 */
export function lingerAndClose(socket: ByteStream, stallMs: number): void {
  if (socket.destroyed) return;
  let unsent = socket.writableLength;
  const look = (): void => {
    if (socket.writableLength === unsent) socket.destroy();
    unsent = socket.writableLength;
  };
  let stall = setInterval(look, socket.readableEnded ? Math.min(ENDED_STALL_MS, stallMs) : stallMs);
  socket.once("end", () => {
    clearInterval(stall);
    if (!socket.writableFinished) stall = setInterval(look, Math.min(ENDED_STALL_MS, stallMs));
  });
  socket.once("close", () => clearInterval(stall));
  socket.on("data", () => {});
  socket.resume();
  socket.end(() => {
    clearInterval(stall);
    if (socket.destroyed) return;
    if (socket.readableEnded) {
      socket.destroy();
      return;
    }
    const deadline = setTimeout(() => socket.destroy(), LINGER_MS);
    const quiet = setTimeout(() => socket.destroy(), QUIET_MS);
    socket.on("data", () => quiet.refresh());
    socket.once("end", () => socket.destroy());
    socket.once("close", () => {
      clearTimeout(deadline);
      clearTimeout(quiet);
    });
  });
}

/** Some clients send all of a body before they read a word, so the bound is on time and not on octets. */
const LINGER_MS = 30_000;
const QUIET_MS = 2_000;
const ENDED_STALL_MS = 5_000;
