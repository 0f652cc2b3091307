// Reads the log for whoever ran a sandbox. The log may be long, and what this process is for goes on beside it: one reader at a time.

import { decisionsAbout, refusalsIn } from "../audit/refusals.ts";
import { type Control, ControlError } from "../registry/types.ts";

export function refusals(directory: string, sandboxOf: Control["sandbox"]): Control["refusals"] {
  let reading = false;
  return async (sandbox) => {
    if (reading) throw new ControlError("unavailable", "the log is being read for another: ask again");
    reading = true;
    try {
      const since = sandboxOf(sandbox)?.createdAt ?? 0;
      return await refusalsIn(decisionsAbout(directory, { sandbox, since }));
    } finally {
      reading = false;
    }
  };
}
