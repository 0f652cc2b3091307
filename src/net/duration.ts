// How a time span is written: one number and one unit.

/** Milliseconds; `undefined`: it is not one. */
export function parseDuration(input: string): number | undefined {
  const [, number, unit = ""] = /^(\d{1,9})([a-z]{1,2})$/.exec(input) ?? [];
  const scale = Object.hasOwn(UNITS_MS, unit) ? UNITS_MS[unit] : undefined;
  return scale === undefined ? undefined : Number(number) * scale;
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
