// `{ secret: ${TOKEN} }` is not YAML: braces end a plain scalar there. Everybody writes it so all the same; so the braces of a
// variable are private characters while YAML is read or written. As many as before, so that places stay.

export function hideVariables(text: string): string {
  return text.replace(VARIABLE, `$${OPEN}$1${CLOSE}`);
}

export function showVariables(text: string): string {
  return text.replace(HIDDEN, "${$1}");
}

const [OPEN, CLOSE] = ["\u{E000}", "\u{E001}"];
const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;
const HIDDEN = /\$\u{E000}([A-Za-z_][A-Za-z0-9_]*)\u{E001}/gu;
