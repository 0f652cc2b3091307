// What the data path says of a request that no rule allows and somebody may approve, and what it is answered. Values only:
// they cross from workers to the primary.

import type { Reason } from "../net/reasons.ts";

export type Asking = {
  /** `undefined`: nobody says who they are, and the address stands for them. */
  readonly sandbox: string | undefined;
  readonly address: string;
  readonly policy: string;
  readonly method: string;
  readonly scheme: "http" | "https";
  /** Canonical, so that no other name looks like it. */
  readonly host: string;
  readonly port: number;
  /** As it would be sent: printable ASCII, at most 1,024 octets; what is longer nobody can approve. */
  readonly path: string;
  /** A digest of the query: what differs there is another request, though nobody is shown it. Empty: there is none. */
  readonly query: string;
  /** Why the policy does not allow it. */
  readonly reason: Reason;
  /** Until when it waits, milliseconds from now; 0: not at all. */
  readonly waitMs: number;
};

export type Answer =
  | { readonly outcome: "allowed"; readonly id: string; readonly by: string; readonly because: string }
  | { readonly outcome: "denied"; readonly id: string; readonly because: string }
  /** Not decided, as long as it was waited for. */
  | { readonly outcome: "pending"; readonly id: string }
  /** Nobody can be asked: too much is asked already, or the store cannot be reached. */
  | { readonly outcome: "unasked" };

/** Of the registry, as the data path is handed it. */
export type Approvals = {
  /** Never rejects. An aborted signal ends the wait. */
  readonly ask: (asking: Asking, signal: AbortSignal) => Promise<Answer>;
  /** A grant let something pass. */
  readonly used: (grant: string) => void;
};
