// What the registry asks before it lets somebody allow anything: types only. The answer is why the requirements forbid it, or
// `undefined` where they do not.

import type { Approval } from "./approval-document.ts";
import type { Allowing } from "./approval-reach.ts";
import type { Actor, NewGrant, Registration } from "./types.ts";

export type Above = {
  readonly registration: (registration: Pick<Registration, "policies">) => string | undefined;
  readonly grant: (grant: NewGrant, by: Actor) => string | undefined;
  readonly approval: (approval: Approval, decision: Allowing, by: Actor) => string | undefined;
  /** No grant outlives it, whenever it was given; `undefined`: as long as was granted. */
  readonly longestMs: () => number | undefined;
};
