// Turns any string into one JSON string of printable ASCII, so that a line stays one line in every viewer and a
// sandbox can add neither a line nor a field. It must never let a raw control, bidirectional or non-ASCII octet through.

const PLAIN = /^[ !#-[\]-~]*$/;
const UNSAFE = /["\\]|[^ -~]/g;

/** The JSON string literal, quotes included. A lone surrogate becomes U+FFFD: strict JSON readers refuse it. */
export function quote(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  return `"${text.toWellFormed().replace(UNSAFE, escapeUnit)}"`;
}

function escapeUnit(unit: string): string {
  if (unit === '"') return '\\"';
  if (unit === "\\") return "\\\\";
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
