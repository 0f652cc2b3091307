// HTTP/2 connections that exchanges share: one for each key as long as it has room, opened once however many ask for it at the
// same moment, kept for a short while when nothing runs on it.

import type { TLSSocket } from "node:tls";
import type { Address } from "../net/address.ts";
import type { Limits } from "../net/limits.ts";
import type { UpstreamConnection } from "./engine.ts";
import { Http2Client } from "./http2-client.ts";
import type { Http2Exchange } from "./http2-exchange.ts";

type Options = {
  readonly limits: Limits;
  readonly on: { reused(): void; closed(): void };
};

export type Opened = {
  /** Verified, and agreed to be HTTP/2. */
  readonly socket: TLSSocket;
  readonly address: Address | undefined;
  readonly key: string;
  readonly onHttp1Required: () => void;
};

export class Http2Clients {
  readonly #kept = new Map<string, Set<Http2Client>>();
  readonly #flights = new Map<string, Promise<UpstreamConnection>>();
  readonly #limits: Limits;
  readonly #on: Options["on"];
  readonly #sweep: NodeJS.Timeout;
  #size = 0;
  #closed = false;

  constructor({ limits, on }: Options) {
    this.#limits = limits;
    this.#on = on;
    this.#sweep = setInterval(() => this.#expire(), SWEEP_MS).unref();
  }

  get size(): number {
    return this.#size;
  }

  /** A share of a connection with room, of those to one of `among` if it is given. */
  take(key: string, among?: readonly Address[]): Http2Exchange | undefined {
    for (const client of this.#kept.get(key) ?? []) {
      if (!client.fit || this.#expired(client)) continue;
      if (among === undefined || isOneOf(client.address, among)) return client.take();
    }
    return undefined;
  }

  /** `open` connects, and keeps what it opened; whoever asks meanwhile for the same shares it, or its fault. */
  async connect(
    key: string,
    addresses: readonly Address[],
    open: () => Promise<UpstreamConnection>,
  ): Promise<UpstreamConnection> {
    // The addresses belong to the key: those of one request were not judged for another.
    const flightKey = `${key} ${addresses.join()}`;
    for (;;) {
      const flight = this.#flights.get(flightKey);
      if (flight === undefined) return await this.#lead(flightKey, open);
      await flight;
      const shared = this.take(key, addresses);
      if (shared !== undefined) {
        this.#on.reused();
        return shared;
      }
      // It speaks HTTP/1.1: to each a connection of its own. Or it is full already, and the next is opened for the rest.
      if (!this.#kept.has(key)) return await open();
    }
  }

  #lead(flightKey: string, open: () => Promise<UpstreamConnection>): Promise<UpstreamConnection> {
    const flight = open().finally(() => this.#flights.delete(flightKey));
    this.#flights.set(flightKey, flight);
    return flight;
  }

  /** The first exchange over a new connection, which is kept for those that follow. */
  async open({ socket, address, key, onHttp1Required }: Opened): Promise<Http2Exchange> {
    const client = new Http2Client({
      socket,
      address,
      limits: this.#limits,
      onClose: (closed) => {
        this.#on.closed();
        this.#drop(closed, key);
      },
      onHttp1Required,
    });
    const exchange = (await client.ready()).take();
    this.#keep(client, key);
    if (this.#closed) client.retire();
    return exchange;
  }

  #keep(client: Http2Client, key: string): void {
    const kept = this.#kept.get(key) ?? new Set();
    this.#kept.set(key, kept.add(client));
    this.#size++;
  }

  #drop(client: Http2Client, key: string): void {
    const kept = this.#kept.get(key);
    if (kept?.delete(client) !== true) return;
    this.#size--;
    if (kept.size === 0) this.#kept.delete(key);
  }

  /** Makes room for another connection; false where every one is busy. */
  closeIdle(): boolean {
    for (const [key, kept] of this.#kept)
      for (const client of kept) {
        if (!client.idle) continue;
        client.retire();
        // At once: until its socket has closed it must not be given up for a second newcomer.
        this.#drop(client, key);
        return true;
      }
    return false;
  }

  /** What is under way ends by itself, and nothing more is begun. */
  drop(concerned: (key: string) => boolean): void {
    for (const [key, kept] of this.#kept)
      if (concerned(key))
        for (const client of kept) {
          client.retire();
          this.#drop(client, key);
        }
  }

  /** What is under way ends by itself. */
  close(): void {
    clearInterval(this.#sweep);
    this.#closed = true;
    this.#retire(() => true);
  }

  #expire(): void {
    this.#retire((client) => this.#expired(client));
  }

  #expired(client: Http2Client): boolean {
    return client.idle && client.idleSince + this.#limits.upstreamIdleMs <= performance.now();
  }

  #retire(which: (client: Http2Client) => boolean): void {
    for (const kept of this.#kept.values()) for (const client of kept) if (which(client)) client.retire();
  }
}

/** Where the parent proxy resolves the name, there is no address on either side. */
function isOneOf(address: Address | undefined, among: readonly Address[]): boolean {
  return address === undefined ? among.length === 0 : among.includes(address);
}

const SWEEP_MS = 1000;
