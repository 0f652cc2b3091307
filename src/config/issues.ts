// What zod found, said in an operator's words and at the place where it was written. Values are quoted only where they
// are one of a closed set's misspellings, so that no secret is ever repeated.

import type * as z from "zod";
import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import type { Path, Source } from "./source.ts";
import { childOf, keysOf, type Schema } from "./walk.ts";

type Issue = z.core.$ZodIssue;

/** `schema` is what `source.value` was parsed with. */
export function describeIssues(source: Source, schema: Schema, issues: readonly Issue[]): Diagnostic[] {
  return issues.flatMap((issue) => describe({ source, schema, issue, parent: [] }));
}

type Context = { source: Source; schema: Schema; issue: Issue; parent: Path };

function describe(context: Context): Diagnostic[] {
  const { source, issue } = context;
  const path: Path = [...context.parent, ...(issue.path as (string | number)[])];
  const at = (what: "key" | "value") => source.at(path, what);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownKey(context, path, key));
    case "invalid_union": {
      const value = valueAt(source.value, path);
      if (value === undefined) return [source.error(at("value"), missing(path))];
      const branch = branchMeant(issue.errors);
      return branch === undefined
        ? [source.error(at("value"), `${issue.message}${got(value)}`)]
        : branch.flatMap((inner) => describe({ ...context, issue: inner, parent: path }));
    }
    case "invalid_key":
      return issue.issues.map(({ message }) => source.error(at("key"), message));
    case "invalid_type": {
      const value = valueAt(source.value, path);
      if (value === undefined) return [source.error(at("value"), missing(path))];
      const message = issue.message.startsWith("expected ")
        ? issue.message
        : `expected ${article(issue.expected)}`;
      return [source.error(at("value"), `${message}${got(value)}`)];
    }
    case "invalid_value":
      return [source.error(at("value"), unknownValue(issue.values.map(String), valueAt(source.value, path)))];
    case "custom":
    case "too_small":
    case "too_big":
    case "invalid_format":
    case "not_multiple_of":
    case "invalid_element":
      return [source.error(at("value"), issue.message)];
  }
}

function missing(path: Path): string {
  return `missing key ${JSON.stringify(String(path.at(-1)))}`;
}

function unknownKey(context: Context, path: Path, key: string): Diagnostic {
  const { source, schema } = context;
  const place = source.at([...path, key], "key");
  const known = keysOf(
    path.reduce<readonly Schema[]>((at, segment) => at.flatMap((s) => childOf(s, segment)), [schema]),
  );
  return source.error(place, `unknown key ${JSON.stringify(key)}${didYouMean(key, known)}`);
}

function unknownValue(values: readonly string[], value: unknown): string {
  const expected = `expected ${list(values)}`;
  return typeof value === "string" && value.length <= 64
    ? `${expected}, got ${JSON.stringify(value)}${didYouMean(value, values)}`
    : `${expected}${got(value)}`;
}

/** The one branch of a union whose type fits what was written, though its content does not. */
function branchMeant(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  const fitting = branches.filter(fits);
  return fitting.length === 1 ? fitting[0] : undefined;
}

function fits(issues: readonly Issue[]): boolean {
  return !issues.some(
    (issue) =>
      issue.path.length === 0 &&
      (issue.code === "invalid_type" ||
        issue.code === "invalid_value" ||
        (issue.code === "invalid_union" && !issue.errors.some(fits))),
  );
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, segment) =>
      typeof at === "object" && at !== null && Object.hasOwn(at, segment)
        ? (at as Record<string | number, unknown>)[segment]
        : undefined,
    value,
  );
}

function got(value: unknown): string {
  if (value === null || value === undefined) return ", got nothing";
  if (Array.isArray(value)) return ", got a list";
  if (typeof value === "object") return ", got a mapping";
  if (typeof value === "boolean") return `, got ${value}`;
  return typeof value === "number" ? ", got a number" : "";
}

function article(expected: string): string {
  return WORDS[expected] ?? `a ${expected}`;
}

function list(words: readonly string[]): string {
  const quoted = words.map((word) => JSON.stringify(word));
  return quoted.length === 1
    ? String(quoted[0])
    : `${quoted.slice(0, -1).join(", ")} or ${String(quoted.at(-1))}`;
}

const WORDS: Record<string, string> = {
  array: "a list",
  object: "a mapping",
  record: "a mapping",
  boolean: "true or false",
};
