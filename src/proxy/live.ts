// Everything under way: what a new generation judges again, and what a stop waits for.

import type { Reason } from "../net/reasons.ts";
import type { Published } from "./parts.ts";

/** An exchange, a tunnel or an upgraded connection. */
export type Underway = {
  /** Whose it is; `undefined`: nobody says. */
  readonly sandbox: string | undefined;
  /** Why the published policy no longer allows it, or `undefined`. */
  rejudge(published: Published): Reason | undefined;
  cut(reason: Reason): void;
  /** A stop has begun: whatever can end at once does. */
  drain?(): void;
  /** Where `Live` keeps it; nobody else's business. */
  place?: number | undefined;
};

/** A connection that can be asked to take no further requests. */
export type Drainable = {
  drain(): void;
  destroy(): void;
  /** After one more request, where it tells its sandbox so. */
  retire?(): void;
};

export class Live {
  // No Set: one that changes with every request leaves tables behind that keep what they held from being collected while young
  // (docs/performance.md).
  readonly #underway: Underway[] = [];
  readonly #connections = new Set<Drainable>();
  #draining = false;
  #retiring = false;
  /** Whatever begins now is too late. */
  #over = false;
  #idle: (() => void) | undefined;

  get draining(): boolean {
    return this.#draining;
  }

  get connections(): number {
    return this.#connections.size;
  }

  begin(underway: Underway): void {
    underway.place = this.#underway.push(underway) - 1;
    if (this.#draining) underway.drain?.();
    if (this.#over) underway.cut("draining");
  }

  end(underway: Underway): void {
    const { place } = underway;
    if (place === undefined) return;
    underway.place = undefined;
    const last = this.#underway.pop();
    if (last === undefined || last === underway) return;
    this.#underway[place] = last;
    last.place = place;
  }

  open(connection: Drainable): void {
    this.#connections.add(connection);
    if (this.#draining) connection.drain();
    else if (this.#retiring) connection.retire?.();
  }

  close(connection: Drainable): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#idle?.();
  }

  /** Cuts what does not hold any more; `concerned`: whose could have changed. */
  rejudge(published: Published, concerned?: (sandbox: string | undefined) => boolean): void {
    for (const underway of this.#standing()) {
      if (concerned?.(underway.sandbox) === false) continue;
      if (underway.rejudge(published) !== undefined) underway.cut("policy-changed");
    }
  }

  /**
   * Others take what is new: connections are asked to end behind their next answer, for at most `ms`, so that none is closed
   * as its sandbox sends a request.
   */
  async retire(ms: number): Promise<void> {
    this.#retiring = true;
    for (const connection of this.#connections) connection.retire?.();
    await this.#emptied(ms);
  }

  /** Lets exchanges end for at most `ms`, then ends them. */
  async drain(ms: number): Promise<void> {
    this.#draining = true;
    for (const connection of this.#connections) connection.drain();
    for (const underway of this.#standing()) underway.drain?.();
    await this.#emptied(ms);
    this.#over = true;
    for (const underway of this.#standing()) underway.cut("draining");
    for (const connection of this.#connections) connection.destroy();
  }

  /** Also while those that are gone through end themselves, or one another. */
  *#standing(): Iterable<Underway> {
    for (const underway of this.#underway.slice()) if (underway.place !== undefined) yield underway;
  }

  async #emptied(ms: number): Promise<void> {
    if (this.#connections.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }
}
