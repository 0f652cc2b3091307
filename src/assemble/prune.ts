// Deletes old audit data at somebody's order: recorded first, chain by chain, and refused while a lockdown stands (legal hold).

import { oldSegments, removeSegments } from "../audit/prune.ts";
import { act, type Noted } from "../registry/action.ts";
import { type Control, ControlError } from "../registry/types.ts";

export type PruneOptions = {
  readonly directory: string;
  readonly noted: Noted;
  readonly lockdowns: Control["lockdowns"];
  /** Where the store cannot be read, a lockdown may stand that nobody here knows of. */
  readonly healthy: Control["healthy"];
  readonly now: () => number;
};

export function pruneAudit({
  directory,
  noted,
  lockdowns,
  healthy,
  now,
}: PruneOptions): Control["pruneAudit"] {
  const mayGo = (): void => {
    if (!healthy())
      throw new ControlError(
        "unavailable",
        "the store cannot be reached, so a lockdown may stand: nothing is deleted",
      );
    const [held] = lockdowns();
    if (held === undefined) return;
    const whose = held.sandbox === "*" ? "all" : held.sandbox;
    throw new ControlError(
      "conflict",
      `the lockdown of ${whose} holds audit data (${held.reason}): nothing is deleted until it is lifted`,
    );
  };
  return async (actor, olderThan, preview) => {
    mayGo();
    const chains = await oldSegments(directory, now() - olderThan);
    if (!preview)
      for (const old of chains) {
        const { chain, through, octets, files } = old;
        const object = chain === "" ? "primary" : chain;
        const details = { segments: files.length, octets, through };
        await act(noted, actor, { action: "audit.prune", object, details }, () => removeSegments(old, mayGo));
      }
    const sum = (of: (one: (typeof chains)[number]) => number): number =>
      chains.reduce((all, one) => all + of(one), 0);
    return { segments: sum(({ files }) => files.length), octets: sum(({ octets }) => octets) };
  };
}
