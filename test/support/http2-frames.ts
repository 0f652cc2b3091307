// A sandbox that speaks HTTP/2 frame by frame: any type, flag, length and order, and what comes back, one by one.

import type { TLSSocket } from "node:tls";
import { HpackDecoder } from "../../src/net/hpack.ts";
import {
  block,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Fields,
  frame,
  type Frame,
  frameIn,
  GOAWAY,
  HEADERS,
  PING,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  u32,
} from "./http2-octets.ts";
import { type TunnelOptions, tunnelTls } from "./http2.ts";

export type HttpAnswer = {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  field(name: string): string | undefined;
};

export class Frames implements Disposable {
  readonly socket: TLSSocket;
  readonly received: Frame[] = [];
  closed = false;
  #held = Buffer.alloc(0);
  #wake: (() => void)[] = [];
  readonly #decoder = new HpackDecoder();
  readonly #authority: string;

  constructor(socket: TLSSocket, authority: string) {
    this.socket = socket;
    this.#authority = authority;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    const over = (): void => {
      this.closed = true;
      this.#tell();
    };
    socket.on("end", over);
    socket.on("close", over);
  }

  /** With the preface and SETTINGS. */
  static async open(
    port: number,
    options: TunnelOptions,
    settings: Buffer = Buffer.alloc(0),
  ): Promise<Frames> {
    const frames = new Frames(await tunnelTls(port, options), options.authority);
    frames.send(PREFACE, frame(SETTINGS, 0, 0, settings));
    return frames;
  }

  /** On a connection where somebody has begun to read. */
  static over(
    { socket, all }: { readonly socket: unknown; readonly all: string },
    authority: string,
  ): Frames {
    const secured = socket as TLSSocket;
    secured.removeAllListeners("data");
    const frames = new Frames(secured, authority);
    frames.#read(Buffer.from(all, "latin1"));
    return frames.send(PREFACE, frame(SETTINGS, 0, 0));
  }

  send(...octets: readonly Buffer[]): this {
    this.socket.write(Buffer.concat(octets));
    return this;
  }

  /** The fields of a GET, changed: `undefined` leaves one out. */
  request(changes: Readonly<Record<string, string | undefined>> = {}): Fields {
    const base: Record<string, string | undefined> = {
      ":method": "GET",
      ":scheme": "https",
      ":authority": this.#authority,
      ":path": "/",
      ...changes,
    };
    return Object.entries(base).filter((entry): entry is [string, string] => entry[1] !== undefined);
  }

  headers(stream: number, fields: Fields = this.request(), flags = END_STREAM | END_HEADERS): this {
    return this.send(frame(HEADERS, flags, stream, block(fields)));
  }

  /** The first frame that fits, there or to come; `undefined`: the connection closed without one. */
  async until(fits: (frame: Frame) => boolean): Promise<Frame | undefined> {
    for (;;) {
      const found = this.received.find(fits);
      if (found !== undefined || this.closed) return found;
      await new Promise<void>((resolve) => void this.#wake.push(resolve));
    }
  }

  /** Status, fields and body of the answer on a stream; also why it, or the connection, was ended. */
  async outcome(
    stream: number,
  ): Promise<{ status: number; reason: string; reset?: number; goaway?: number }> {
    const over = (one: Frame): boolean =>
      (one.stream === stream && (one.type === RST_STREAM || (one.flags & END_STREAM) !== 0)) ||
      one.type === GOAWAY;
    await this.until(over);
    // What follows the end of an answer tells whether more was wrong.
    await this.ping();
    let fields: readonly string[] = [];
    for (const one of this.received)
      if (one.type === HEADERS) {
        const decoded = this.#decoded(one);
        if (one.stream === stream && fields.length === 0) fields = decoded;
      }
    const field = (name: string): string => fields[fields.indexOf(name) + 1] ?? "";
    const reset = this.received.find((one) => one.type === RST_STREAM && one.stream === stream);
    const goaway = this.received.find((one) => one.type === GOAWAY);
    return {
      status: fields.length === 0 ? 0 : Number(field(":status")),
      reason: fields.includes("sallyport-reason") ? field("sallyport-reason") : "",
      ...(reset && { reset: reset.payload.readUInt32BE(0) }),
      ...(goaway && { goaway: goaway.payload.readUInt32BE(4) }),
    };
  }

  /** The whole answer on a stream, as an HTTP/1 one reads. */
  async answer(stream: number): Promise<HttpAnswer> {
    await this.outcome(stream);
    const fields = this.received
      .filter((one) => one.type === HEADERS)
      .flatMap((one) => (one.stream === stream ? this.#decoded(one) : []));
    const body = this.received.filter((one) => one.type === DATA && one.stream === stream);
    const field = (name: string): string | undefined => {
      const at = fields.indexOf(name);
      return at === -1 ? undefined : fields[at + 1];
    };
    return {
      status: Number(field(":status")),
      head: fields.join("\r\n"),
      body: Buffer.concat(body.map(({ payload }) => payload)).toString("latin1"),
      field,
    };
  }

  #pings = 0;
  /** Everything sent before has been read. */
  async ping(): Promise<void> {
    const id = u32(0xfeed, ++this.#pings);
    if (this.closed || this.socket.destroyed) return;
    this.send(frame(PING, 0, 0, id));
    await this.until((one) => one.type === PING && one.payload.equals(id));
  }

  /** The code that the connection was ended with. */
  async goaway(): Promise<number | undefined> {
    return (await this.until((one) => one.type === GOAWAY))?.payload.readUInt32BE(4);
  }

  readonly #fields = new Map<Frame, readonly string[]>();
  #decoded(one: Frame): readonly string[] {
    const known = this.#fields.get(one);
    if (known !== undefined) return known;
    const decoded = this.#decoder.decode(one.payload, { octets: 1e6, fields: 1e4 })?.fields ?? [];
    this.#fields.set(one, decoded);
    return decoded;
  }

  #read(chunk: Buffer): void {
    this.#held = Buffer.concat([this.#held, chunk]);
    for (let next = frameIn(this.#held); next !== undefined; next = frameIn(this.#held)) {
      this.received.push(next);
      this.#held = this.#held.subarray(9 + next.payload.length);
    }
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
