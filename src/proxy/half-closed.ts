// A sandbox that sends no more may wait for its answer, or be gone: nothing tells until something is written. It is given some
// time, and more of it for as long as the answer moves.

import type { ByteStream } from "./downstream.ts";
import type { Http1Exchange } from "./http1-exchange.ts";

/** `isCurrent`: the exchange is still the one under way. Answers with what ends the watch. */
export function watchHalfClosed(
  socket: ByteStream,
  exchange: Http1Exchange,
  isCurrent: () => boolean,
): () => void {
  let { octetsOut } = exchange;
  const timer = setInterval(() => {
    if (!isCurrent()) return clearInterval(timer);
    if (exchange.octetsOut !== octetsOut || socket.writableNeedDrain) {
      ({ octetsOut } = exchange);
      return;
    }
    clearInterval(timer);
    exchange.gone(undefined);
    socket.destroy();
  }, HALF_CLOSED_MS);
  return () => clearInterval(timer);
}

const HALF_CLOSED_MS = 5_000;
