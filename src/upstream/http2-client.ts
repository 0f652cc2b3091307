// The HTTP/2 engine towards origins: one verified connection, many exchanges at a time. It takes no pushes, and what an origin
// says without being asked is counted: nobody keeps it busy with frames that answer nothing.

import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import type { TLSSocket } from "node:tls";
import type { Address } from "../net/address.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Limits } from "../net/limits.ts";
import { type Carrier, Http2Exchange, LAST_WORDS_MS } from "./http2-exchange.ts";
import { connectionFault } from "./http2-faults.ts";

export type Http2Options = {
  /** Verified, and agreed to be HTTP/2; nothing was read from it. */
  readonly socket: TLSSocket;
  readonly address: Address | undefined;
  readonly limits: Limits;
  readonly onClose: (client: Http2Client) => void;
  /** The origin asks for HTTP/1.1 (RFC 9113 §7). */
  readonly onHttp1Required: () => void;
};

export class Http2Client implements Carrier {
  readonly address: Address | undefined;
  readonly limits: Limits;
  readonly #session: ClientHttp2Session;
  readonly #socket: TLSSocket;
  readonly #onHttp1Required: () => void;
  #settled = false;
  #retired = false;
  #taken = 0;
  #used = false;
  #unasked = { from: 0, frames: 0 };
  #breaking = false;
  fault: ProxyFault | undefined;
  lastProcessed = Infinity;
  /** When the last exchange ended, by `performance.now()`. */
  idleSince = performance.now();

  constructor({ socket, address, limits, onClose, onHttp1Required }: Http2Options) {
    this.address = address;
    this.limits = limits;
    this.#socket = socket;
    this.#onHttp1Required = onHttp1Required;
    const session = sessionOver(socket, limits);
    this.#session = session;
    const destroy = session.destroy.bind(session);
    session.destroy = (error, code) => this.#breakOff(destroy, error, code);
    session.on("error", (error) => (this.fault ??= connectionFault(error)));
    session.on("goaway", (code, last) => {
      this.lastProcessed = last ?? Infinity;
      if (code === constants.NGHTTP2_HTTP_1_1_REQUIRED) onHttp1Required();
      this.#retired = true;
    });
    session.on("stream", () => session.destroy(new ProxyFault("upstream-malformed")));
    session.on("remoteSettings", () => {
      this.#settled = true;
      this.#count();
    });
    for (const event of ["ping", "altsvc", "origin"]) session.on(event, () => this.#count());
    session.on("close", () => this.retire());
    socket.once("close", () => onClose(this));
  }

  /** Resolves once the origin has said what it takes; until then nothing is sent. */
  ready(): Promise<this> {
    return new Promise((resolve, reject) => {
      const session = this.#session;
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        session.off("remoteSettings", onSettings);
        session.off("close", onClose);
        act();
      };
      const fail = (fault: ProxyFault): void =>
        settle(() => {
          this.#destroy(fault);
          reject(this.fault ?? fault);
        });
      const onSettings = (): void =>
        this.fit ? settle(() => resolve(this)) : fail(new ProxyFault("upstream-refused"));
      const onClose = (): void => fail(this.fault ?? new ProxyFault("upstream-reset"));
      const timer = setTimeout(() => fail(new ProxyFault("upstream-timeout")), this.limits.connectMs);
      session.on("remoteSettings", onSettings);
      session.on("close", onClose);
      if (session.destroyed) onClose();
    });
  }

  /** Takes one more exchange. */
  get fit(): boolean {
    return this.open && this.#settled && !this.#retired && this.#taken < this.#places;
  }

  get open(): boolean {
    return this.fault === undefined && !this.#session.closed && !this.#session.destroyed;
  }

  get idle(): boolean {
    return this.#taken === 0;
  }

  /** As many as the origin takes at a time; it may change its mind. */
  get #places(): number {
    return Math.min(this.#session.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS, MAX_STREAMS);
  }

  take(): Http2Exchange {
    this.#taken++;
    const exchange = new Http2Exchange(this, this.#used);
    this.#used = true;
    return exchange;
  }

  request(pairs: string[], bodiless: boolean): ClientHttp2Stream {
    return this.#session.request(pairs, { endStream: bodiless, waitForTrailers: !bodiless });
  }

  released(): void {
    this.#taken--;
    this.idleSince = performance.now();
    if (this.#retired && this.idle) this.#destroy();
  }

  retire(): void {
    this.#retired = true;
    if (this.idle) this.#destroy();
  }

  http1Required(): void {
    this.#retired = true;
    this.#onHttp1Required();
  }

  /** Frames that a peer may send at any time, and as many as it likes (RFC 9113 §10.5). */
  #count(): void {
    const now = performance.now();
    if (now - this.#unasked.from > UNASKED_MS) this.#unasked = { from: now, frames: 0 };
    if (++this.#unasked.frames > MAX_UNASKED)
      this.#session.destroy(new ProxyFault("upstream-malformed"), constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /**
   * What is wrong with a frame Node takes up amid its reading, where nothing can be written. Then nothing more is begun, and it ends a
   * turn later: behind a GOAWAY, which says that the origin was at fault and not, as Node has it, that we were.
   */
  #breakOff(destroy: ClientHttp2Session["destroy"], error: Error | undefined, code?: number): void {
    const fault = error === undefined ? undefined : connectionFault(error);
    if (fault?.reason !== "upstream-malformed") return destroy(error, code);
    this.#retired = true;
    this.fault ??= fault;
    if (this.#breaking) return;
    this.#breaking = true;
    setImmediate(() => this.#end(() => destroy(error, code ?? codeOf(error))));
  }

  #destroy(fault?: ProxyFault): void {
    this.#retired = true;
    this.fault ??= fault;
    if (!this.#breaking) this.#end(() => this.#session.destroy());
  }

  #end(destroy: () => void): void {
    // Node leaves a connection that the origin said it would close half open, for as long as the origin likes.
    const left = this.#session.closed || this.#session.destroyed;
    destroy();
    if (left) return void this.#socket.destroy();
    // Node waits until all that was written has gone, which is as long as the origin likes too.
    const late = setTimeout(() => this.#socket.destroy(), LAST_WORDS_MS);
    this.#socket.once("close", () => clearTimeout(late));
  }
}

function sessionOver(socket: TLSSocket, limits: Limits): ClientHttp2Session {
  const options = {
    // Whatever is asked of this session says its own scheme and authority.
    createConnection: () => socket,
    settings: {
      enablePush: false,
      initialWindowSize: STREAM_WINDOW,
      // Each field counts 32 octets more here than what it takes (RFC 9113 §6.5.2).
      maxHeaderListSize: limits.headOctets + limits.headFields * 32,
    },
    // Somewhat beyond what is taken, so that it is us who say which bound was met.
    maxHeaderListPairs: limits.headFields * 2,
    maxSettings: 32,
    maxSessionMemory: SESSION_MEGABYTES,
    maxOutstandingPings: 1,
    // What a sandbox sends twice is the origin's to judge, over either protocol.
    strictSingleValueFields: false,
  };
  const session = connect("https://origin.invalid", options);
  session.once("connect", () => {
    if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW);
  });
  return session;
}

/** Where nghttp2 did not say it already: it does of every frame that is wrong, and gives up without a word where there are too many. */
function codeOf(error: unknown): number {
  const flooded = error instanceof Error && "errno" in error && Number(error.errno) <= NGHTTP2_ERR_FATAL;
  return flooded ? constants.NGHTTP2_ENHANCE_YOUR_CALM : constants.NGHTTP2_PROTOCOL_ERROR;
}

/** One stalled answer holds so much, and no other stream back: the connection's window is opened at once. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 1024 * 1024;
const MAX_STREAMS = 100;
/** Of bodies that wait for the origin, each stream's part is some 128 KiB; past this Node refuses answers as too large. */
const SESSION_MEGABYTES = 32;
const NGHTTP2_ERR_FATAL = -900;
const MAX_UNASKED = 10_000;
const UNASKED_MS = 10_000;
