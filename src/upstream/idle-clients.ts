// Connections that wait for the next request to their origin: each for a short while, no more than so many for one key.
// One that said anything meanwhile is not given out.

import type { Http1Client } from "./http1-client.ts";

type Idle = { readonly client: Http1Client; readonly key: string; readonly until: number };

export class IdleClients {
  readonly #kept = new Map<string, Idle[]>();
  readonly #bounds: { readonly perOrigin: number; readonly idleMs: number };
  readonly #sweep: NodeJS.Timeout;
  #closed = false;

  constructor(bounds: { readonly perOrigin: number; readonly idleMs: number }) {
    this.#bounds = bounds;
    this.#sweep = setInterval(() => this.#expire(), SWEEP_MS).unref();
  }

  keep(client: Http1Client, key: string): void {
    const kept = this.#kept.get(key) ?? [];
    if (this.#closed || kept.length >= this.#bounds.perOrigin) return client.abort();
    if (kept.length === 0) this.#kept.set(key, kept);
    kept.push({ client, key, until: performance.now() + this.#bounds.idleMs });
  }

  /** The one that was kept last, and so is the likeliest to be open still. */
  take(key: string): Http1Client | undefined {
    const kept = this.#kept.get(key);
    // An empty list stays for a while: the next request brings its connection back.
    for (let entry = kept?.pop(); entry !== undefined; entry = kept?.pop()) {
      if (entry.client.usable && entry.until > performance.now()) return entry.client;
      entry.client.abort();
    }
    return undefined;
  }

  /** Of the key that was kept first. */
  oldest(): { readonly client: Http1Client; readonly key: string } | undefined {
    for (const [first] of this.#kept.values()) if (first !== undefined) return first;
    return undefined;
  }

  drop(client: Http1Client, key: string): void {
    const kept = this.#kept.get(key)?.filter((entry) => entry.client !== client) ?? [];
    if (kept.length === 0) this.#kept.delete(key);
    else this.#kept.set(key, kept);
  }

  end(concerned: (key: string) => boolean): void {
    this.#abort(({ key }) => concerned(key));
  }

  close(): void {
    clearInterval(this.#sweep);
    this.#closed = true;
    this.#abort(() => true);
  }

  #expire(): void {
    const now = performance.now();
    this.#abort(({ until }) => until <= now);
    for (const [key, { length }] of this.#kept) if (length === 0) this.#kept.delete(key);
  }

  #abort(which: (entry: Idle) => boolean): void {
    for (const kept of this.#kept.values()) for (const entry of kept) if (which(entry)) entry.client.abort();
  }
}

const SWEEP_MS = 1000;
