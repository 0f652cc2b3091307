// Reading a socket without what Node makes of each read: a buffer of its own from C++, and a turn through the stream's queue.

import { ownCopyOf } from "./slab.ts";

type Sink = (octets: Buffer) => void;
/** Takes all of the octets or none, and keeps nothing of them: they are lent until it returns. */
type Glance = (octets: Buffer) => boolean;

/** As much of a socket as it takes. */
type Socket = {
  readonly readableFlowing: boolean | null;
  readonly readableLength: number;
  on(event: "data", sink: Sink): unknown;
  off(event: "data", sink: Sink): unknown;
  push(octets: Buffer): boolean;
};

/**
 * As `socket.on("data", sink)` for the only one who listens: the same octets in the same order, and none while it is paused. An open socket of
 * Node's reads into one buffer from then on, which Node offers as `onread` to those alone that it connects by itself; copies leave it.
 * What `glance` takes is not copied, and comes to nobody else.
 */
export function readDirectly(socket: Socket, sink: Sink, glance?: Glance): void {
  socket.on("data", sink);
  if (!canReadDirectly(socket)) return;
  socket[SINK] = sink;
  socket[GLANCE] = glance;
}

/** As `socket.off("data", sink)`. */
export function stopReading(socket: Socket, sink: Sink): void {
  socket.off("data", sink);
  const direct: Direct = socket;
  if (direct[SINK] === sink) direct[SINK] = direct[GLANCE] = undefined;
}

type Direct = Socket & { [SINK]?: Sink | undefined; [GLANCE]?: Glance | undefined };
type Internals = Direct & {
  [internal: symbol]: unknown;
  readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void } | null;
};
type Names = { readonly buffer: symbol; readonly callback: symbol };

function canReadDirectly(socket: Socket): socket is Direct {
  const internals: Internals = socket;
  if (SINK in internals) return true;
  const handle = internals._handle;
  if (typeof handle?.useUserBuffer !== "function") return false;
  names ??= namesOf(socket);
  if (names === undefined || internals[names.buffer] !== null) return false;
  internals[names.buffer] = SHARED;
  internals[names.callback] = take;
  handle.useUserBuffer(SHARED);
  return true;
}

/** What Node calls when so many octets are in the buffer; `false` stops its reading. */
function take(this: Direct, length: number): boolean {
  const read = SHARED.subarray(0, length);
  const sink = this[SINK];
  // What waits in the stream goes first, and a stream that is paused keeps what still comes.
  const flows = sink !== undefined && this.readableFlowing === true && this.readableLength === 0;
  if (flows && this[GLANCE]?.(read) === true) return true;
  const octets = ownCopyOf(read);
  if (!flows) return this.push(octets);
  sink(octets);
  return true;
}

/** Where Node keeps what `onread` says; `undefined` in a Node that has it elsewhere, where `data` serves as ever. */
function namesOf(socket: object): Names | undefined {
  const find = (name: string): symbol | undefined =>
    Object.getOwnPropertySymbols(socket).find(({ description }) => description === name);
  const [buffer, callback] = [find("kBuffer"), find("kBufferCb")];
  return buffer === undefined || callback === undefined ? undefined : { buffer, callback };
}

const SINK = Symbol("sink");
const GLANCE = Symbol("glance");
/** A read fills it, and is used up or copied before the next one begins, whichever socket that is of. */
const SHARED = Buffer.allocUnsafeSlow(64 * 1024);
let names: Names | undefined;
