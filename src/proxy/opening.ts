// The first octets of a connection, read as one whole message of some protocol within a time; what follows the message is
// left as if nobody had read it.

import { performance } from "node:perf_hooks";
import type { ByteStream } from "./downstream.ts";

/** `octets`: how many of those given the message took. */
type Complete = { readonly state: "complete"; readonly octets: number };

/** `parse` is given all that arrived so far, and says by itself when that is too much. `until`: by performance.now(). */
export function readOpening<Whole extends Complete>(
  socket: ByteStream,
  until: number,
  parse: (bytes: Buffer) => Whole | { readonly state: "incomplete" | "malformed" },
): Promise<Whole | { readonly state: "malformed" | "late" | "closed" }> {
  return new Promise((resolve) => {
    let held: Buffer | undefined;
    const timer = setTimeout(() => finish({ state: "late" }), Math.max(0, until - performance.now()));
    const finish = (opened: Whole | { readonly state: "malformed" | "late" | "closed" }): void => {
      clearTimeout(timer);
      socket.off("data", onData);
      socket.off("close", onClose);
      socket.off("end", onClose);
      socket.pause();
      const rest = opened.state === "complete" ? held?.subarray(opened.octets) : undefined;
      if (rest !== undefined && rest.length > 0) socket.unshift(rest);
      resolve(opened);
    };
    const onClose = (): void => finish({ state: "closed" });
    const onData = (chunk: Buffer): void => {
      held = held === undefined ? chunk : Buffer.concat([held, chunk]);
      const read = parse(held);
      if (read.state === "complete") finish(read);
      else if (read.state === "malformed") finish({ state: "malformed" });
    };
    if (socket.destroyed || socket.readableEnded) return onClose();
    socket.on("data", onData);
    socket.once("close", onClose);
    socket.once("end", onClose);
    socket.resume();
  });
}
