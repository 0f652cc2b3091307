// The budgets of a policy: how much of what, for a sandbox's life or for a time, and for which hosts. None is written: none counts.

import * as z from "zod";
import type { Budget, BudgetName } from "../policy/types.ts";
import { hostPattern } from "./rule-schema.ts";
import type { Path, Source } from "./source.ts";
import { readSize } from "./values.ts";

export type Quota = { readonly limit: number; readonly perMs: number };

/** `expected` names the kind; `read` gives `undefined` for what is no amount of it. */
function quota(expected: string, read: (amount: string) => number | undefined, title: string) {
  const message = `expected ${expected}, alone for the sandbox's life or with /min, /hour or /day`;
  return z
    .union([z.string(), z.number()], message)
    .meta({ title })
    .transform((input, context): Quota => {
      const [, amount = "", , period] = /^([^/]*)(\/([a-z]*))?$/.exec(String(input)) ?? [];
      const limit = read(amount);
      const perMs =
        period === undefined ? 0 : Object.hasOwn(PERIODS_MS, period) ? PERIODS_MS[period] : undefined;
      if (limit !== undefined && limit <= MOST && perMs !== undefined) return { limit, perMs };
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    });
}

const octets = quota("a size such as 10MiB", readSize, "size per time");
const number = quota("a whole number", readNumber, "number per time");
const open = z
  .int("expected a whole number")
  .min(0, "expected a whole number from 0 to 1000000")
  .max(1_000_000, "expected a whole number from 0 to 1000000")
  .transform((limit): Quota => ({ limit, perMs: 0 }));

const ofHost = {
  upload: octets
    .optional()
    .describe(
      "Octets that leave: heads, queries and bodies of requests, and what tunnels and WebSockets carry.",
    ),
  download: octets
    .optional()
    .describe("Octets that come back: heads and bodies, tunnels and WebSockets alike."),
  requests: number.optional().describe("Requests, and tunnels that are passed unread."),
  connections: open.optional().describe("Requests and unread tunnels under way at once."),
};

export const budgets = z.strictObject({
  ...ofHost,
  hosts: number.optional().describe("Different hosts that anything is sent to."),
  per_host: z
    .record(hostPattern, z.strictObject(ofHost))
    .optional()
    .describe("For the hosts of a pattern, together, beside what holds for all."),
});

export function budgetsOf(
  { per_host: hosts = {}, ...every }: z.output<typeof budgets>,
  path: Path,
  source: Source,
): Budget[] {
  const of = (
    quotas: { readonly [Name in BudgetName]?: Quota | undefined },
    host: string | undefined,
    from: Path,
  ): Budget[] =>
    Object.entries(quotas).flatMap(([key, quota]) => {
      if (quota === undefined) return [];
      const { line, column } = source.at([...from, key], "value");
      return { name: key as BudgetName, host, ...quota, source: `${source.file}:${line}:${column}` };
    });
  return [
    ...of(every, undefined, path),
    ...Object.entries(hosts).flatMap(([host, quotas]) => of(quotas, host, [...path, "per_host", host])),
  ];
}

function readNumber(amount: string): number | undefined {
  return /^\d{1,12}$/.test(amount) ? Number(amount) : undefined;
}

const PERIODS_MS: Readonly<Record<string, number>> = { min: 60_000, hour: 3_600_000, day: 86_400_000 };
/** What a store can count to, with room to spare. */
const MOST = 2 ** 50;
