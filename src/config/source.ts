// A YAML text as a plain value that still knows where each part of it was written. Refuses what makes a file mean
// something else than it shows: duplicate keys, tags, a second document, aliases without end.

import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml";
import type { Document, ErrorCode, ParsedNode, Scalar } from "yaml";
import type { Diagnostic, Position } from "./diagnostic.ts";
import { hideVariables, showVariables } from "./variables.ts";

export type Path = readonly (string | number)[];

export type Source = {
  readonly file: string;
  readonly value: unknown;
  /** Where the key or the value at `path` stands; where there is none, the nearest that surrounds it. */
  at(path: Path, what: "key" | "value"): Position;
  /** As `at`, of the first `text` inside the scalar at `path`. */
  within(path: Path, text: string): Position;
  error(position: Position, message: string): Diagnostic;
  warning(position: Position, message: string): Diagnostic;
};

export type Parsed = { readonly source: Source | undefined; readonly diagnostics: readonly Diagnostic[] };

/** `source` is there when the text has one meaning, even if it also has errors. */
export function parseSource(file: string, text: string): Parsed {
  const lines = new LineCounter();
  try {
    return read({ file, text, lines });
  } catch (fault) {
    // The only way to learn that aliases multiply is that expanding them throws.
    if (fault instanceof ReferenceError) return failed(file, "aliases multiply to too much");
    throw fault;
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function read(input: { file: string; text: string; lines: LineCounter }): Parsed {
  const { file, text, lines } = input;
  const document = parseDocument(hideVariables(text), {
    lineCounter: lines,
    prettyErrors: false,
    stringKeys: true,
    resolveKnownTags: false,
    version: "1.2",
    logLevel: "error",
  });
  // The parser recurses, and catches its own exhausted stack.
  if (document.errors.some(({ code }) => code === "RESOURCE_EXHAUSTION")) return failed(file, TOO_DEEP);
  visit(document, {
    Scalar: (_key, node) => {
      if (typeof node.value === "string") node.value = showVariables(node.value);
    },
  });
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const error = (at: Position, message: string): Diagnostic => ({ file, ...at, severity: "error", message });
  const diagnostics = [
    ...document.errors.map(({ code, message, pos }) =>
      error(
        position(pos[0]),
        code === "DUPLICATE_KEY" ? duplicateKey(text, pos[0]) : (WORDS[code] ?? lowerFirst(message)),
      ),
    ),
    ...refusals(document).map(({ offset, message }) => error(position(offset), message)),
  ];
  const unreadable = document.errors.some(({ code }) => code !== "DUPLICATE_KEY");
  if (unreadable || diagnostics.length > document.errors.length) return { source: undefined, diagnostics };

  const find = (path: Path, what: "key" | "value"): number => offsetOf(document, path, what);
  const source: Source = {
    file,
    value: document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown,
    at: (path, what) => position(find(path, what)),
    within: (path, part) => {
      const start = find(path, "value");
      const inside = text.indexOf(part, start);
      return position(inside < 0 ? start : inside);
    },
    error,
    warning: (at, message) => ({ file, ...at, severity: "warning", message }),
  };
  return { source, diagnostics };
}

/** Tags, unknown aliases, and the one key that is not a key in JavaScript. */
function refusals(document: Document.Parsed): { offset: number; message: string }[] {
  const found: { offset: number; message: string }[] = [];
  visit(document, {
    Node: (_key, node, ancestors) => {
      const offset = node.range?.[0] ?? 0;
      if (isAlias(node)) {
        const target = node.resolve(document);
        if (target === undefined) found.push({ offset, message: `unknown alias "${node.source}"` });
        else if (ancestors.includes(target))
          found.push({ offset, message: `alias "${node.source}" contains itself` });
      } else if (node.tag !== undefined) {
        found.push({ offset, message: "tags are not used here" });
      }
    },
    Pair: (_key, { key }) => {
      if (isScalar(key) && key.value === "__proto__") {
        found.push({ offset: key.range?.[0] ?? 0, message: 'unknown key "__proto__"' });
      }
    },
  });
  return found;
}

function offsetOf(document: Document.Parsed, path: Path, what: "key" | "value"): number {
  let node: ParsedNode | null = document.contents;
  let offset = node?.range[0] ?? 0;
  for (const [depth, segment] of path.entries()) {
    if (isAlias(node)) node = (node.resolve(document) as ParsedNode | undefined) ?? null;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === segment);
      if (pair === undefined) return offset;
      node = pair.value;
      const key = pair.key as unknown as Scalar.Parsed;
      const wanted = what === "key" && depth === path.length - 1 ? key : (node ?? key);
      // An empty value starts after its key's colon, maybe lines below: the key is the better place.
      offset = isEmpty(wanted) ? key.range[0] : wanted.range[0];
    } else if (isSeq(node)) {
      node = node.items[Number(segment)] ?? null;
      if (node === null) return offset;
      offset = node.range[0];
    } else {
      return offset;
    }
  }
  return offset;
}

function isEmpty(node: ParsedNode): boolean {
  return isScalar(node) && node.value === null && node.source === "";
}

function duplicateKey(text: string, offset: number): string {
  const key = /^[^\s:,}]{1,64}/.exec(text.slice(offset, offset + 80));
  return `duplicate key ${JSON.stringify(key?.[0] ?? "?")}`;
}

function lowerFirst(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1);
}

function failed(file: string, message: string): Parsed {
  return { source: undefined, diagnostics: [{ file, line: 1, column: 1, severity: "error", message }] };
}

const WORDS: Partial<Record<ErrorCode, string>> = {
  MULTIPLE_DOCS: "a second document begins here; a file is one",
  NON_STRING_KEY: "keys are text",
};

const TOO_DEEP = "the file is nested too deeply";
const MAX_ALIASES = 100;
