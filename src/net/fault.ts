// A failure of ours, of the sandbox's input, or of upstream: a reason code and its cause. Never a verdict.

import { REASONS, type Reason } from "./reasons.ts";

export class ProxyFault extends Error {
  readonly reason: Reason;

  constructor(reason: Reason, cause?: unknown) {
    super(REASONS[reason].text, { cause });
    this.name = "ProxyFault";
    this.reason = reason;
  }
}

/** What was thrown, as a fault; what nobody foresaw is an internal error. */
export function asFault(thrown: unknown): ProxyFault {
  return thrown instanceof ProxyFault ? thrown : new ProxyFault("internal-error", thrown);
}
