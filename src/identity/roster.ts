// What holds for sandboxes beside the operator's file: those registered while the proxy runs, and what was ordered or granted for
// any of them. Plain values, since they cross from the primary to its workers.

import type { Labels } from "../registry/types.ts";
import type { Grant, Phase, RuleRef } from "../policy/types.ts";

export type Orders = {
  readonly lockdown: RuleRef | undefined;
  readonly grants: readonly Grant[];
};

export type RosterItem = Orders & {
  /** In place of the file's; `undefined`: as the file says. */
  readonly phase: Phase | undefined;
  /** Absent: the operator's file declares it, or nothing does and it is nobody. */
  readonly registered:
    | {
        /** SHA-256 of its secret, base64url. */
        readonly digest: string;
        readonly policies: { readonly [phase in Phase]: string };
        readonly labels: Labels;
        readonly sources: readonly string[];
      }
    | undefined;
};

/** What changed; an item that is `undefined` is gone. */
export type RosterUpdate = {
  readonly items: readonly (readonly [id: string, item: RosterItem | undefined])[];
  /** For every sandbox, and for whoever has no name; absent: as before. */
  readonly everyone?: Orders | undefined;
};

export class Roster {
  readonly items = new Map<string, RosterItem>();
  everyone: Orders = NO_ORDERS;

  take({ items, everyone }: RosterUpdate): void {
    for (const [id, item] of items) {
      if (item === undefined) this.items.delete(id);
      else this.items.set(id, item);
    }
    this.everyone = everyone ?? this.everyone;
  }

  /** All of it, as one update. */
  get whole(): RosterUpdate {
    return { items: [...this.items], everyone: this.everyone };
  }
}

const NO_ORDERS: Orders = { lockdown: undefined, grants: [] };
