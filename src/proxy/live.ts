// Everything under way: what a new generation judges again, and what a stop waits for.

import type { Reason } from "../net/reasons.ts";
import type { Published } from "./parts.ts";

/** An exchange, a tunnel or an upgraded connection. */
export type Underway = {
  /** Why the published policy no longer allows it, or `undefined`. */
  rejudge(published: Published): Reason | undefined;
  cut(reason: Reason): void;
};

/** A connection that can be asked to take no further requests. */
export type Drainable = { drain(): void; destroy(): void };

export class Live {
  readonly #underway = new Set<Underway>();
  readonly #connections = new Set<Drainable>();
  #draining = false;
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
    this.#underway.add(underway);
    if (this.#over) underway.cut("draining");
  }

  end(underway: Underway): void {
    this.#underway.delete(underway);
  }

  open(connection: Drainable): void {
    this.#connections.add(connection);
    if (this.#draining) connection.drain();
  }

  close(connection: Drainable): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#idle?.();
  }

  /** Cuts what the new generation does not allow. */
  rejudge(published: Published): void {
    for (const underway of this.#underway) {
      if (underway.rejudge(published) !== undefined) underway.cut("policy-changed");
    }
  }

  /** Lets exchanges end for at most `ms`, then ends them. */
  async drain(ms: number): Promise<void> {
    this.#draining = true;
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#idle = resolve;
      const timer = setTimeout(resolve, ms);
      await promise;
      clearTimeout(timer);
    }
    this.#over = true;
    for (const underway of this.#underway) underway.cut("draining");
    for (const connection of this.#connections) connection.destroy();
  }
}
