// Options that more than one command has.

import { CliError, EXIT } from "./errors.ts";

/** For `--label NAME=VALUE`, which may be repeated. */
export function anotherLabel(
  text: string,
  before: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const [, name, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined)
    throw new CliError(`--label is NAME=VALUE, and not ${JSON.stringify(text)}.`, EXIT.usage);
  return { ...before, [name]: value };
}

/** For an option that may be repeated. */
export function another(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}

export type JsonOption = { readonly json?: boolean };
