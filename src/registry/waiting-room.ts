// Requests that are held for a decision: so many of one sandbox, so many in all, each for so long. Never holds one that its
// asker has given up.

import type { Answer } from "./asking.ts";

export type Wait = {
  /** Whose share it takes. */
  readonly share: string;
  readonly ms: number;
  readonly signal: AbortSignal;
};

export class WaitingRoom {
  readonly #waiting = new Map<string, Set<(answer: Answer) => void>>();
  readonly #shares = new Map<string, number>();
  #all = 0;

  /** Resolves with the decision on `id`, or with that there is none: at once where there is no room. */
  wait(id: string, { share, ms, signal }: Wait): Promise<Answer> {
    const pending: Answer = { outcome: "pending", id };
    const taken = this.#shares.get(share) ?? 0;
    if (ms <= 0 || signal.aborted || taken >= MAX_OF_SHARE || this.#all >= MAX_IN_ALL)
      return Promise.resolve(pending);
    this.#shares.set(share, taken + 1);
    this.#all++;
    return new Promise((resolve) => {
      const others = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, others);
      const leave = (answer: Answer): void => {
        if (!others.delete(leave)) return;
        if (others.size === 0) this.#waiting.delete(id);
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
        this.#leave(share);
        resolve(answer);
      };
      const giveUp = (): void => leave(pending);
      const timer = setTimeout(giveUp, ms);
      signal.addEventListener("abort", giveUp);
      others.add(leave);
    });
  }

  isAwaited(id: string): boolean {
    return this.#waiting.has(id);
  }

  answer(id: string, answer: Answer): void {
    for (const leave of this.#waiting.get(id) ?? []) leave(answer);
  }

  #leave(share: string): void {
    const left = (this.#shares.get(share) ?? 1) - 1;
    if (left === 0) this.#shares.delete(share);
    else this.#shares.set(share, left);
    this.#all--;
  }
}

const MAX_OF_SHARE = 16;
const MAX_IN_ALL = 1_024;
