// HTTP/2 frames as they are written by hand: any type, flag, length and order, and what comes back, one by one. The writer knows
// nothing of the proxy's own.

import type { TLSSocket } from "node:tls";
import { HpackDecoder } from "../../src/net/hpack.ts";
import { type TunnelOptions, tunnelTls } from "./http2.ts";

export type Received = {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
};

export type HttpAnswer = {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  field(name: string): string | undefined;
};

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const WITH_PRIORITY = 0x20;

export function frame(type: number, flags: number, stream: number, payload: Buffer | string = ""): Buffer {
  const body = Buffer.from(payload as string, "latin1");
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

export const u32 = (...values: number[]): Buffer => {
  const out = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => out.writeUInt32BE(value, at * 4));
  return out;
};

export const setting = (id: number, value: number): Buffer => {
  const out = Buffer.alloc(6);
  out.writeUInt16BE(id, 0);
  out.writeUInt32BE(value, 2);
  return out;
};

export type Fields = readonly (readonly [name: string, value: string])[];

/** Literals without indexing, no Huffman code. */
export function block(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]));
}

function text(value: string): Buffer {
  const octets = Buffer.from(value, "latin1");
  const { length } = octets;
  if (length < 127) return Buffer.concat([Buffer.of(length), octets]);
  const more: number[] = [];
  let rest = length - 127;
  for (; rest >= 128; rest >>= 7) more.push((rest & 127) | 128);
  return Buffer.concat([Buffer.of(127, ...more, rest), octets]);
}

export class Frames implements Disposable {
  readonly socket: TLSSocket;
  readonly received: Received[] = [];
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
  async until(fits: (frame: Received) => boolean): Promise<Received | undefined> {
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
    const over = (one: Received): boolean =>
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

  readonly #fields = new Map<Received, readonly string[]>();
  #decoded(one: Received): readonly string[] {
    const known = this.#fields.get(one);
    if (known !== undefined) return known;
    const decoded = this.#decoder.decode(one.payload, { octets: 1e6, fields: 1e4 })?.fields ?? [];
    this.#fields.set(one, decoded);
    return decoded;
  }

  #read(chunk: Buffer): void {
    this.#held = Buffer.concat([this.#held, chunk]);
    while (this.#held.length >= 9) {
      const length = this.#held.readUIntBE(0, 3);
      if (this.#held.length < 9 + length) break;
      const [type = 0, flags = 0] = this.#held.subarray(3, 5);
      this.received.push({
        type,
        flags,
        stream: this.#held.readUInt32BE(5),
        payload: Buffer.from(this.#held.subarray(9, 9 + length)),
      });
      this.#held = this.#held.subarray(9 + length);
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
