// A WebSocket on a stream (RFC 8441): towards the origin it is an HTTP/1.1 upgrade, whose key is ours and whose accept is checked;
// then the stream carries the bytes of that connection.

import { createHash, randomBytes } from "node:crypto";
import { Duplex } from "node:stream";
import { first } from "../net/headers.ts";
import type { Http2Request } from "../net/http2-request.ts";
import type { ResponseHead } from "../net/message.ts";
import type { ByteStream } from "./downstream.ts";
import { lowerCase } from "./http2-responder.ts";
import type { Http2Sender } from "./http2-sender.ts";

export function newKey(): string {
  return randomBytes(16).toString("base64");
}

/** With the one key that is ours, whatever the sandbox sent. */
export function withKey(request: Http2Request, key: string): Http2Request {
  const { headers } = request.head;
  const kept = headers.filter((_, at) => !KEYS.has(headers[at - (at % 2)] ?? ""));
  return { ...request, head: { ...request.head, headers: [...kept, "Sec-WebSocket-Key", key] } };
}

/** The origin's 101 answers this very key (RFC 6455 §4.2.2). */
export function accepted(head: ResponseHead, key: string): boolean {
  return (
    first(head.headers, "sec-websocket-accept") ===
    createHash("sha1")
      .update(key + GUID)
      .digest("base64")
  );
}

/** What the sandbox is told in place of the 101. */
export function switched(head: ResponseHead): string[] {
  const fields = lowerCase(head.headers);
  const kept = fields.filter((_, at) => !SWITCHING.has(fields[at - (at % 2)] ?? ""));
  return [":status", "200", ...kept];
}

type Options = {
  readonly sender: Http2Sender;
  readonly taken: (octets: number) => void;
  /** It was broken off. */
  readonly onBreak: () => void;
};

/** The stream's octets, as those of any connection. */
export class Http2Tunnel extends Duplex implements ByteStream {
  readonly #sender: Http2Sender;
  readonly #taken: (octets: number) => void;
  readonly #onBreak: () => void;
  /** Octets handed to a reader that was full. */
  #unpaid = 0;
  #idle: NodeJS.Timeout | undefined;
  #finished = false;
  #flushed: (() => void) | undefined;

  constructor({ sender, taken, onBreak }: Options) {
    super({ allowHalfOpen: true });
    this.#sender = sender;
    this.#taken = taken;
    this.#onBreak = onBreak;
  }

  receive(octets: Buffer): void {
    this.#idle?.refresh();
    if (octets.length === 0) return;
    if (this.destroyed || this.push(octets)) this.#taken(octets.length);
    else this.#unpaid += octets.length;
  }

  finish(): void {
    this.#finished = true;
    this.push(null);
  }

  override _read(): void {
    const octets = this.#unpaid;
    this.#unpaid = 0;
    if (octets > 0) this.#taken(octets);
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#idle?.refresh();
    if (this.#sender.write(chunk)) {
      done();
      return;
    }
    this.#sender.onRoom = () => {
      this.#idle?.refresh();
      done();
    };
  }

  override _final(done: () => void): void {
    this.#flushed = done;
    this.#sender.end([]);
  }

  /** END_STREAM is out. */
  flushed(): void {
    this.#flushed?.();
    this.#flushed = undefined;
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    clearTimeout(this.#idle);
    this._read();
    // An orderly end on both sides is no break.
    if (!this.#sender.sent || !this.#finished) this.#onBreak();
    done(error);
  }

  setTimeout(ms: number): this {
    clearTimeout(this.#idle);
    this.#idle = ms === 0 ? undefined : setTimeout(() => this.emit("timeout"), ms);
    return this;
  }

  destroySoon(): void {
    if (this.writableFinished) this.destroy();
    else this.end(() => this.destroy());
  }

  resetAndDestroy(): this {
    return this.destroy();
  }
}

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEYS: ReadonlySet<string> = new Set(["sec-websocket-key"]);
const SWITCHING: ReadonlySet<string> = new Set(["connection", "upgrade", "sec-websocket-accept"]);
