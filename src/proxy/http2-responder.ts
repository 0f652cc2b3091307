// Writes one answer on a stream; a body that is cut short ends in a reset, never in END_STREAM.

import type { HeaderPairs } from "../net/headers.ts";
import type { BodyLength, BodySink, ResponseHead } from "../net/message.ts";
import type { Reason } from "../net/reasons.ts";
import type { Http2Output } from "./http2-output.ts";
import type { Http2Sender } from "./http2-sender.ts";

type Options = {
  readonly output: Http2Output;
  readonly sender: Http2Sender;
  readonly id: number;
  readonly method: string;
  readonly head: ResponseHead;
  readonly declared: BodyLength;
  /** `cut`: what was written is not the whole answer. */
  readonly onEnd: (cut: Reason | undefined) => void;
};

export class Http2Responder implements BodySink {
  readonly #sender: Http2Sender;
  readonly #bodiless: boolean;
  readonly #onEnd: (cut: Reason | undefined) => void;
  #left: number | undefined;
  /** All that was announced, kept so that its frame says that it is the last. */
  #last: Buffer | undefined;
  #ended = false;
  octets: number;
  movedAt = Date.now();
  onDrain: (() => void) | undefined;

  constructor({ output, sender, id, method, head, declared, onEnd }: Options) {
    this.#sender = sender;
    this.#onEnd = onEnd;
    const { status } = head;
    this.#bodiless = method === "HEAD" || status === 204 || status === 304;
    if (declared.kind === "known") this.#left = declared.octets;
    else if (declared.kind === "none") this.#left = 0;
    const fields = [":status", String(status), ...lowerCase(head.headers)];
    // A 204 states no length (RFC 9110 §8.6).
    if (declared.kind === "known" && status !== 204) fields.push("content-length", String(declared.octets));
    const over = this.#bodiless || declared.kind === "none";
    this.octets = output.fields(id, fields, over);
    sender.onRoom = () => {
      const resume = this.onDrain;
      this.onDrain = undefined;
      resume?.();
    };
    if (over) sender.endedWithHead();
  }

  write(chunk: Buffer): boolean {
    if (this.#ended || this.#bodiless || chunk.length === 0) return true;
    this.octets += chunk.length;
    this.movedAt = Date.now();
    if (this.#left !== undefined) {
      this.#left -= chunk.length;
      if (this.#left === 0) {
        this.#last = chunk;
        return true;
      }
    }
    return this.#sender.write(chunk);
  }

  end(trailers: HeaderPairs): void {
    if (this.#ended) return;
    if (!this.#bodiless && this.#left !== undefined && this.#left !== 0)
      return this.abort("upstream-malformed");
    this.#ended = true;
    if (!this.#sender.sent) this.#sender.end(lowerCase(trailers), this.#last);
    this.#onEnd(undefined);
  }

  abort(reason: Reason): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd(reason);
  }
}

/** Names as HTTP/2 has them. */
export function lowerCase(fields: HeaderPairs): string[] {
  return fields.map((text, at) => (at % 2 === 0 ? text.toLowerCase() : text));
}
