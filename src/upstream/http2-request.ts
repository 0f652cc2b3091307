// The body of a request on its way into a stream. A body that is cut short never ends in order: END_STREAM goes out only where
// the source said so itself.

import { type ClientHttp2Stream, type OutgoingHttpHeaders, sensitiveHeaders } from "node:http2";
import { type HeaderPairs, safeTrailers } from "../net/headers.ts";
import { octetsOf } from "../net/http2-fields.ts";
import type { BodySink, BodySource } from "../net/message.ts";

export class StreamWriter implements BodySink {
  readonly #stream: ClientHttp2Stream;
  readonly #body: BodySource;
  readonly #onEnd: () => void;
  readonly #onCut: () => void;
  #left: number | undefined;
  #abandoned = false;
  #onDrain: (() => void) | undefined;
  octets = 0;
  ended = false;
  movedAt = Date.now();
  /** When the origin stopped taking in the body, or 0. */
  blockedSince = 0;

  constructor(
    stream: ClientHttp2Stream,
    body: BodySource,
    on: { readonly end: () => void; readonly cut: () => void },
  ) {
    this.#stream = stream;
    this.#body = body;
    this.#onEnd = on.end;
    this.#onCut = on.cut;
    this.#left = body.length.kind === "known" ? body.length.octets : undefined;
  }

  get onDrain(): (() => void) | undefined {
    return this.#onDrain;
  }

  set onDrain(resume: (() => void) | undefined) {
    this.#onDrain = resume;
    this.blockedSince = resume === undefined ? 0 : Date.now();
  }

  start(headOctets: number): void {
    this.octets = headOctets;
    // Where there is no body, END_STREAM stands in the head.
    if (this.#body.length.kind === "none") this.ended = true;
    else this.#body.pipe(this);
  }

  write(chunk: Buffer): boolean {
    if (this.#abandoned || chunk.length === 0) return true;
    this.octets += chunk.length;
    this.movedAt = Date.now();
    if (this.#left !== undefined) this.#left -= chunk.length;
    return this.#stream.write(chunk);
  }

  end(trailers: HeaderPairs): void {
    if (this.ended || this.#abandoned) return;
    if (this.#left !== undefined && this.#left !== 0) return this.abort();
    this.ended = true;
    const safe = safeTrailers(trailers);
    this.octets += octetsOf(safe);
    // The stream was opened so that its end alone sends no END_STREAM: Node also ends a stream that it resets.
    this.#stream.once("wantTrailers", () => {
      if (!this.#abandoned) this.#stream.sendTrailers(fieldsOf(safe));
    });
    this.#stream.end();
    this.#onEnd();
  }

  abort(): void {
    if (this.#abandoned || this.ended) return;
    this.#abandoned = true;
    this.#onCut();
  }

  /** The stream failed; what else comes is dropped. */
  abandon(): void {
    this.#abandoned = true;
  }

  drained(): void {
    this.movedAt = Date.now();
    const resume = this.onDrain;
    this.onDrain = undefined;
    resume?.();
  }
}

/** So that no table on the way keeps what they say (RFC 7541 §7.1.3). */
export function neverIndexed(pairs: string[], sensitive: readonly string[] | undefined): string[] {
  if (sensitive === undefined) return pairs;
  const marked = [...pairs] as string[] & Record<symbol, readonly string[]>;
  marked[sensitiveHeaders] = sensitive;
  return marked;
}

function fieldsOf(pairs: HeaderPairs): OutgoingHttpHeaders {
  const fields: Record<string, string[]> = {};
  for (let at = 0; at < pairs.length; at += 2) (fields[pairs[at]!.toLowerCase()] ??= []).push(pairs[at + 1]!);
  return fields;
}
