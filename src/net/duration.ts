// How a time span is written: one number and one unit.

export const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/;

/** Milliseconds; `undefined`: it is not one. */
export function parseDuration(input: string): number | undefined {
  const [, number, unit = ""] = DURATION.exec(input) ?? [];
  const scale = UNITS_MS[unit];
  return scale === undefined ? undefined : Number(number) * scale;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
