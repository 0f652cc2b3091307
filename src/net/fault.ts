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
