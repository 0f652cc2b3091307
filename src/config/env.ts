// `${NAME}` in secrets, from the environment: `$${` stands for `${`. What is not defined is an error where it is
// written, never an empty secret.

import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import { isRecord, type Path, type Source } from "./source.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The source's value with its secrets expanded; a secret that cannot be is replaced by one that passes for one. */
export function expandSecrets(
  source: Source,
  env: Environment,
): { value: unknown; diagnostics: Diagnostic[] } {
  const diagnostics: Diagnostic[] = [];
  const { value } = source;
  if (!isRecord(value) || !Array.isArray(value["sandboxes"])) return { value, diagnostics };
  const sandboxes = value["sandboxes"].map((sandbox: unknown, index) => {
    if (!isRecord(sandbox) || typeof sandbox["secret"] !== "string") return sandbox;
    const secret = expand(sandbox["secret"], { source, env, path: ["sandboxes", index, "secret"] });
    if (typeof secret === "string") return { ...sandbox, secret };
    diagnostics.push(...secret);
    return { ...sandbox, secret: PLACEHOLDER };
  });
  return { value: { ...value, sandboxes }, diagnostics };
}

type Context = { source: Source; env: Environment; path: Path };

function expand(text: string, { source, env, path }: Context): string | Diagnostic[] {
  const errors: Diagnostic[] = [];
  const expanded = text.replace(VARIABLE, (written: string, name: string | undefined) => {
    if (written === "$${") return "${";
    const found = name === undefined ? undefined : env[name];
    if (found !== undefined) return found;
    const message =
      name === undefined
        ? "expected ${NAME}; write $${ for a literal ${"
        : `environment variable ${JSON.stringify(name)} is not set${didYouMean(name, Object.keys(env))}`;
    errors.push(source.error(source.within(path, written), message));
    return "";
  });
  return errors.length === 0 ? expanded : errors;
}

const VARIABLE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{/g;
const PLACEHOLDER = "x".repeat(32);
