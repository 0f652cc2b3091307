// A scenario that is about Sallyport alone and has figures of its own kind.

import type { Lab } from "./lab.ts";
import type { Verdict } from "./report.ts";
import type { Pace } from "./rounds.ts";

export type Study = {
  readonly name: string;
  readonly title: string;
  run(lab: Lab, pace: Pace): Promise<Finding>;
};

export type Finding = {
  readonly figures: Readonly<Record<string, number>>;
  /** To be printed. */
  readonly text: string;
  readonly targets: readonly Verdict[];
};
