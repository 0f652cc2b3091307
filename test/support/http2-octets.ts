// HTTP/2 frames and field blocks as they are written by hand, for a sandbox and for an origin, and the numbers of RFC 9113. They know
// nothing of the proxy's own.

export type Frame = {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
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

export const PROTOCOL_ERROR = 1;
export const FLOW_CONTROL_ERROR = 3;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const ENHANCE_YOUR_CALM = 11;

export function frame(type: number, flags: number, stream: number, payload: Buffer | string = ""): Buffer {
  const body = Buffer.from(payload as string, "latin1");
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

/** The first frame of what is held, once it is whole. */
export function frameIn(held: Buffer): Frame | undefined {
  if (held.length < 9) return undefined;
  const length = held.readUIntBE(0, 3);
  if (held.length < 9 + length) return undefined;
  return {
    type: held.readUInt8(3),
    flags: held.readUInt8(4),
    stream: held.readUInt32BE(5),
    payload: Buffer.from(held.subarray(9, 9 + length)),
  };
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
