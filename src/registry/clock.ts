// What time brings about: sandboxes end, move to agent and are forgotten, grants expire. One timer, for the nearest moment; it
// follows from the documents, so that it survives a restart, and where several replicas try, one is first.

import type { Change, Kind } from "../store/types.ts";

export type Due = {
  /** When this document is to be looked at; `undefined`: never. */
  readonly nextOf: (kind: Kind, id: string) => number | undefined;
  /** Something is due for these: it holds from now on, whether or not it can be written. */
  readonly tell: (due: readonly Pick<Change, "kind" | "id">[]) => void;
  /** Writes what is due. */
  readonly attend: (kind: Kind, id: string) => Promise<void>;
  readonly onFault: (error: unknown) => void;
  readonly now: () => number;
};

export class Clock {
  readonly #due: Due;
  readonly #moments = new Map<string, { readonly kind: Kind; readonly id: string; readonly at: number }>();
  #timer: NodeJS.Timeout | undefined;
  #firesAt = Infinity;
  #closed = false;

  constructor(due: Due) {
    this.#due = due;
  }

  take(changes: readonly Pick<Change, "kind" | "id">[]): void {
    for (const change of changes) {
      const at = this.#look(change);
      if (at !== undefined) this.#arm(at);
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #look({ kind, id }: Pick<Change, "kind" | "id">): number | undefined {
    const at = this.#due.nextOf(kind, id);
    if (at === undefined) this.#moments.delete(`${kind} ${id}`);
    else this.#moments.set(`${kind} ${id}`, { kind, id, at });
    return at;
  }

  #arm(at: number): void {
    if (this.#closed || at >= this.#firesAt) return;
    clearTimeout(this.#timer);
    this.#firesAt = at;
    const wait = Math.min(Math.max(at - this.#due.now(), LEAST_MS), LONGEST_MS);
    this.#timer = setTimeout(() => void this.#fire(), wait).unref();
  }

  async #fire(): Promise<void> {
    this.#firesAt = Infinity;
    const { tell, attend, now, onFault } = this.#due;
    const at = now();
    const due = [...this.#moments.values()].filter((one) => one.at <= at);
    tell(due);
    for (const moment of due) {
      await attend(moment.kind, moment.id).catch(onFault);
      this.#look(moment);
    }
    let next = Infinity;
    for (const moment of this.#moments.values()) next = Math.min(next, moment.at);
    // What could not be done is tried again a while later.
    if (next !== Infinity) this.#arm(next <= at ? at + RETRY_MS : next);
  }
}

const LEAST_MS = 5;
const RETRY_MS = 1_000;
/** A timer holds no more than 2^31 milliseconds, and a clock may be set. */
const LONGEST_MS = 3_600_000;
