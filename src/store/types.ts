// The storage port: documents of a few kinds, whose changes everybody who shares the store sees in one order, and counters that
// several draw from. What the documents mean is the registry's to say. Both stores pass one suite of tests.

export type Kind = "sandbox" | "token" | "grant" | "approval" | "lockdown";

/** JSON that survives a round trip as it is. */
export type Json =
  | string
  | number
  | boolean
  | null
  | readonly Json[]
  | { readonly [key: string]: Json | undefined };
export type Body = { readonly [key: string]: Json | undefined };

export type Document = {
  readonly kind: Kind;
  /** Unique among those of its kind; 1 to 128 characters. */
  readonly id: string;
  /** 1 when it was made, one more with every change. */
  readonly version: number;
  readonly body: Body;
};

export type Change = Document | { readonly kind: Kind; readonly id: string; readonly removed: true };

/** Everything up to `revision`, or every change after the one asked for; a later revision is never seen before an earlier one. */
export type Read<One> = { readonly revision: number; readonly items: readonly One[] };

export type Write = {
  readonly kind: Kind;
  readonly id: string;
  /** `undefined` removes it. */
  readonly body: Body | undefined;
  /** The version that it is to replace; 0: it must not be there. */
  readonly version: number;
};

export type Written =
  | { readonly ok: true; readonly revision: number; readonly versions: readonly number[] }
  /** Somebody else was there first; nothing was written. */
  | { readonly ok: false; readonly conflict: { readonly kind: Kind; readonly id: string } };

/** What runs down: spent out of a limit, within one window. */
export type Draw = {
  /** 1 to 512 characters. */
  readonly counter: string;
  /** Start of the window, milliseconds since the epoch; 0: it never begins anew. */
  readonly window: number;
  /** Once this moment has passed, the counter may be forgotten; 0: never. What the last draw says holds, so that 0 octets end one. */
  readonly until: number;
  readonly amount: number;
  readonly limit: number;
};

/**
 * The store cannot be reached, or did not answer in time. What needs it is refused; what is known keeps serving. Whether a write or
 * a draw was done all the same is not known: changes tell of a write, and a draw is spent at most.
 */
export class StoreUnavailable extends Error {
  readonly code = "STORE_UNAVAILABLE";

  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = "StoreUnavailable";
  }
}

export type Store = {
  /** Everything that there is. Every operation rejects with `StoreUnavailable` where the store does not answer within its bound. */
  readonly read: () => Promise<Read<Document>>;
  /**
   * What changed after `revision`; of several changes of one document only the last. `undefined`: it is too long ago to be known,
   * so all is to be read anew.
   */
  readonly changes: (after: number) => Promise<Read<Change> | undefined>;
  /** All of them or none. */
  readonly write: (writes: readonly Write[]) => Promise<Written>;
  /** How much of `amount` was to be had: never more than the limit in all, over everybody who draws. Negative amounts give back. */
  readonly draw: (draw: Draw) => Promise<number>;
  readonly spent: (counter: string, window: number) => Promise<number>;
  /** Called soon after somebody, here or elsewhere, wrote; may be called for nothing. Returns what ends it. */
  readonly watch: (changed: () => void) => () => void;
  /** False from a failure to the next success. */
  readonly healthy: () => boolean;
  readonly close: () => Promise<void>;
};
