// Writes one HTTP/1.1 request with framing of our own; a body that is cut short leaves the connection cut.

import type { Socket } from "node:net";
import { safeTrailers, type HeaderPairs } from "../net/headers.ts";
import { fieldText, lastChunk } from "../net/http1-text.ts";
import { MessageOutput } from "../net/http1-write.ts";
import type { BodySink } from "../net/message.ts";
import type { UpstreamRequest } from "./engine.ts";

export class RequestWriter implements BodySink {
  readonly #socket: Socket;
  readonly #request: UpstreamRequest;
  readonly #onEnd: () => void;
  readonly #chunked: boolean;
  readonly #out: MessageOutput;
  #left: number;
  #abandoned = false;
  octets = 0;
  ended = false;
  /** When the origin stopped taking in the body, or 0. */
  blockedSince = 0;
  #onDrain: (() => void) | undefined;

  constructor(socket: Socket, request: UpstreamRequest, onEnd: () => void) {
    this.#socket = socket;
    this.#request = request;
    this.#onEnd = onEnd;
    const { length } = request.body;
    this.#chunked = length.kind === "chunked";
    this.#out = new MessageOutput(socket, this.#chunked);
    this.#left = length.kind === "known" ? length.octets : 0;
  }

  get onDrain(): (() => void) | undefined {
    return this.#onDrain;
  }

  set onDrain(resume: (() => void) | undefined) {
    this.#onDrain = resume;
    this.blockedSince = resume === undefined ? 0 : Date.now();
  }

  start(): void {
    const { body } = this.#request;
    const text = this.#headText();
    this.octets = text.length;
    this.#out.text(text);
    if (body.length.kind === "none") this.ended = true;
    else body.pipe(this);
    this.#out.flush();
  }

  #headText(): string {
    const { method, target, headers, upgrade, body } = this.#request;
    let text = method + " " + target + " HTTP/1.1\r\n" + fieldText(headers);
    if (this.#chunked) text += "Transfer-Encoding: chunked\r\n";
    else if (body.length.kind === "known") text += `Content-Length: ${body.length.octets}\r\n`;
    // A method that usually carries a body says that it has none (RFC 9110 §8.6).
    else if (method === "POST" || method === "PUT" || method === "PATCH") text += "Content-Length: 0\r\n";
    if (upgrade !== undefined) text += `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`;
    return text + "\r\n";
  }

  write(chunk: Buffer): boolean {
    if (this.#abandoned || this.#socket.destroyed || chunk.length === 0) return true;
    this.octets += chunk.length;
    if (!this.#chunked) this.#left -= chunk.length;
    return this.#out.octets(chunk);
  }

  end(trailers: HeaderPairs): void {
    if (this.ended || this.#abandoned) return;
    if (this.#left !== 0) return this.abort();
    this.ended = true;
    if (this.#chunked) {
      const text = lastChunk(safeTrailers(trailers));
      this.octets += text.length;
      this.#out.text(text);
      this.#out.flush();
    }
    this.#onEnd();
  }

  abort(): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#socket.destroy();
  }

  /** The connection failed; what else comes is dropped. */
  abandon(): void {
    this.#abandoned = true;
  }

  drained(): void {
    const resume = this.onDrain;
    this.onDrain = undefined;
    resume?.();
  }
}
