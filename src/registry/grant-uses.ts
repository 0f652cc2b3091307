// That grants are used, written now and then: at the first use, so that one that expires says truly whether it was ever needed,
// and after that seldom. No request waits for it.

import { bodyOf, toBody } from "./documents.ts";
import type { Replica } from "./replica.ts";

export type GrantUsesOptions = {
  readonly replica: Replica;
  readonly onFault: (error: unknown) => void;
  readonly now: () => number;
};

export class GrantUses {
  readonly #options: GrantUsesOptions;
  readonly #writing = new Set<string>();

  constructor(options: GrantUsesOptions) {
    this.#options = options;
  }

  readonly used = (id: string): void => {
    const { replica, onFault, now } = this.#options;
    const document = replica.get("grant", id);
    if (document === undefined || this.#writing.has(id)) return;
    const at = now();
    if (at < (bodyOf("grant", document).usedAt ?? -Infinity) + SELDOM_MS) return;
    this.#writing.add(id);
    void replica
      .update("grant", id, (grant) => grant && toBody({ ...bodyOf("grant", grant), usedAt: at }))
      .catch(onFault)
      .finally(() => this.#writing.delete(id));
  };
}

/** Between two writes for one grant, however often it is used. */
export const SELDOM_MS = 10 * 60_000;
