// Answers that are the proxy's own words, and so whole from the beginning.

import type { ResponseHead } from "../net/message.ts";
import type { DownstreamExchange } from "./downstream.ts";

export function answerWith(down: DownstreamExchange, head: ResponseHead, body: Buffer): void {
  down.respond(
    head,
    body.length === 0 ? { kind: "none" } : { kind: "known", octets: body.length },
    (sink) => {
      sink.write(body);
      sink.end([]);
    },
  );
}
