// Both ends of asking for approval across processes: a worker's question, and the primary's answer to it. No wait outlives its
// asker, and where the primary does not answer in time, nobody was asked.

import type { Answer, Approvals, Asking } from "../registry/asking.ts";

export type AskMessage =
  | { readonly type: "ask"; readonly id: number; readonly asking: Asking }
  /** Nobody waits for the answer any more. */
  | { readonly type: "ask-over"; readonly id: number }
  | { readonly type: "grant-used"; readonly grant: string };
export type AnswerMessage = { readonly type: "answer"; readonly id: number; readonly answer: Answer };

/** A worker's end. */
export class RemoteApprovals implements Approvals {
  readonly #send: (message: AskMessage) => void;
  readonly #asked = new Map<number, (answer: Answer) => void>();
  /** When the primary was last told that a grant is used. */
  readonly #used = new Map<string, number>();
  #questions = 0;

  constructor(send: (message: AskMessage) => void) {
    this.#send = send;
  }

  readonly ask = (asking: Asking, signal: AbortSignal): Promise<Answer> => {
    const id = ++this.#questions;
    return new Promise((resolve) => {
      const over = (): void => this.#send({ type: "ask-over", id });
      const timer = setTimeout(
        () => this.take({ type: "answer", id, answer: UNASKED }),
        asking.waitMs + LATE_MS,
      );
      this.#asked.set(id, (answer) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", over);
        resolve(answer);
      });
      this.#send({ type: "ask", id, asking });
      signal.addEventListener("abort", over);
      if (signal.aborted) over();
    });
  };

  readonly used = (grant: string): void => {
    const at = performance.now();
    if (at < (this.#used.get(grant) ?? -Infinity) + SELDOM_MS) return;
    if (this.#used.size >= MAX_USED) this.#used.clear();
    this.#used.set(grant, at);
    this.#send({ type: "grant-used", grant });
  };

  take({ id, answer }: AnswerMessage): void {
    const answered = this.#asked.get(id);
    this.#asked.delete(id);
    answered?.(answer);
  }
}

/** The primary's end of one worker's questions. */
export class AskedByWorker {
  readonly #approvals: Approvals;
  readonly #send: (message: AnswerMessage) => void;
  readonly #asking = new Map<number, AbortController>();

  constructor(approvals: Approvals, send: (message: AnswerMessage) => void) {
    this.#approvals = approvals;
    this.#send = send;
  }

  take(message: AskMessage): void {
    switch (message.type) {
      case "ask":
        return void this.#ask(message.id, message.asking);
      case "ask-over":
        return this.#asking.get(message.id)?.abort();
      case "grant-used":
        return this.#approvals.used(message.grant);
    }
  }

  /** The worker is gone, and those that waited with it. */
  gone(): void {
    for (const asking of this.#asking.values()) asking.abort();
  }

  async #ask(id: number, asking: Asking): Promise<void> {
    const over = new AbortController();
    this.#asking.set(id, over);
    const answer = await this.#approvals.ask(asking, over.signal);
    this.#asking.delete(id);
    this.#send({ type: "answer", id, answer });
  }
}

const UNASKED: Answer = { outcome: "unasked" };
const LATE_MS = 10_000;
const SELDOM_MS = 60_000;
const MAX_USED = 10_000;
