// A worker's way to the budgets that the primary draws from the store. No answer in time: nobody can tell, and what was drawn is lost.

import type { Bank, BudgetDraw } from "../registry/budgeting.ts";

export type DrawMessage = { readonly type: "draw"; readonly id: number; readonly draw: BudgetDraw };
export type DrawnMessage = {
  readonly type: "drawn";
  readonly id: number;
  readonly granted: number | undefined;
};

export class RemoteBudgets implements Bank {
  readonly #send: (message: DrawMessage) => void;
  readonly #asked = new Map<number, (granted: number | undefined) => void>();
  #draws = 0;

  constructor(send: (message: DrawMessage) => void) {
    this.#send = send;
  }

  readonly draw = (draw: BudgetDraw): Promise<number | undefined> => {
    const id = ++this.#draws;
    return new Promise((resolve) => {
      const late = setTimeout(() => this.take({ type: "drawn", id, granted: undefined }), DRAW_MS);
      this.#asked.set(id, (granted) => {
        clearTimeout(late);
        resolve(granted);
      });
      this.#send({ type: "draw", id, draw });
    });
  };

  take({ id, granted }: DrawnMessage): void {
    const answered = this.#asked.get(id);
    this.#asked.delete(id);
    answered?.(granted);
  }
}

/** Longer than the store takes to say that it does not answer: a host costs several of its answers. */
const DRAW_MS = 10_000;
