// Makes text safe to print: sandboxes choose some of it, so nothing but printable ASCII gets through (no control or bidirectional
// characters), and credentials in URLs do not.

/** Everything but printable ASCII as `\uXXXX`, which inside a JSON string means the same. The line's own newline is not for this. */
export function printable(text: string): string {
  return UNSAFE.test(text) ? text.toWellFormed().replace(EVERY_UNSAFE, escapeUnit) : text;
}

/** User information of URLs blotted out: messages of others may quote them. */
export function withoutCredentials(text: string): string {
  return text.includes("@") ? text.replace(/\/\/[^/?#\s"'@]*(?:@[^/?#\s"'@]*)*@/g, "//[secret]@") : text;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

const UNSAFE = /[^ -~]/;
const EVERY_UNSAFE = /[^ -~]/g;
