// Everything under way: what a new generation judges again, and what a stop waits for.

import type { Reason } from "../net/reasons.ts";
import type { Published } from "./parts.ts";
import { type Placed, Standing } from "./standing.ts";

/** An exchange, a tunnel or an upgraded connection. */
export type Underway = Placed & {
  /** Whose it is; `undefined`: nobody says. */
  readonly sandbox: string | undefined;
  /** Why the published policy no longer allows it, or `undefined`. */
  rejudge(published: Published): Reason | undefined;
  cut(reason: Reason): void;
  /** A stop has begun: whatever can end at once does. */
  drain?(): void;
};

/** A connection that can be asked to take no further requests. */
export type Drainable = Placed & {
  drain(): void;
  destroy(): void;
  /** After one more request, where it tells its sandbox so. */
  retire?(): void;
};

export class Live {
  readonly #underway = new Standing<Underway>();
  readonly #connections = new Standing<Drainable>();
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
    this.#underway.enter(underway);
    if (this.#draining) underway.drain?.();
    if (this.#over) underway.cut("draining");
  }

  end(underway: Underway): void {
    this.#underway.leave(underway);
  }

  open(connection: Drainable): void {
    this.#connections.enter(connection);
    if (this.#draining) connection.drain();
    else if (this.#retiring) connection.retire?.();
  }

  close(connection: Drainable): void {
    this.#connections.leave(connection);
    if (this.#connections.size === 0) this.#idle?.();
  }

  /** Cuts what does not hold any more; `concerned`: whose could have changed. */
  rejudge(published: Published, concerned?: (sandbox: string | undefined) => boolean): void {
    for (const underway of this.#underway) {
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
    for (const underway of this.#underway) underway.drain?.();
    await this.#emptied(ms);
    this.#over = true;
    for (const underway of this.#underway) underway.cut("draining");
    for (const connection of this.#connections) connection.destroy();
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
