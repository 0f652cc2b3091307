// The flags that the benchmarks share.

import { parseArgs } from "node:util";
import type { Pace } from "./rounds.ts";

type Named = { readonly name: string };

export type Options = {
  /** What `--only` names, or all. */
  readonly names: readonly string[];
  readonly peers: readonly string[];
  readonly pace: Pace;
  readonly json: boolean;
};

export function readOptions(all: readonly Named[], peers: readonly Named[] = []): Options {
  const { values } = parseArgs({
    options: {
      only: { type: "string" },
      peers: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  return {
    names: chosen("scenario", all, values.only),
    peers: chosen("peer", peers, values.peers),
    pace: {
      rounds: count(values.rounds) ?? (values.quick ? 1 : 5),
      seconds: count(values.seconds) ?? (values.quick ? 1 : 3),
    },
    json: values.json,
  };
}

function chosen(what: string, all: readonly Named[], list: string | undefined): readonly string[] {
  const known = all.map(({ name }) => name);
  const names = list?.split(",") ?? known;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) fail(`no such ${what}: ${unknown.join(", ")} (there are ${known.join(", ")})`);
  return names;
}

export function count(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  return Number.isFinite(value) && value > 0 ? value : fail(`not a number above 0: ${text}`);
}

export function fail(text: string): never {
  console.error(text);
  process.exit(2);
}
