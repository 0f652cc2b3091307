// The presets: those that are shipped and those in the operator's directory, with what they include. A name means one
// preset; the operator's cannot take a shipped one's.

import { readdir, realpath } from "node:fs/promises";
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Preset } from "../policy/types.ts";
import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import { describeIssues } from "./issues.ts";
import { errorCode, explain, readText } from "./read.ts";
import { presetSchema, type ParsedPreset } from "./schema.ts";
import { parseSource, type Source } from "./source.ts";

export type LibraryPreset = ParsedPreset & { readonly shipped: boolean; readonly source: Source };
export type Library = ReadonlyMap<string, LibraryPreset>;
export type LoadedPresets = {
  readonly library: Library;
  readonly diagnostics: Diagnostic[];
  readonly files: string[];
};

export type PresetOptions = {
  /** The operator's directory, absolute; absent or not there: only the shipped presets. */
  readonly directory?: string | undefined;
  /** Where the shipped ones are; other than the package's own only in tests. */
  readonly shipped?: string | undefined;
  /** Names a file in diagnostics. */
  readonly show?: ((path: string) => string) | undefined;
};

export async function loadPresets(options: PresetOptions = {}): Promise<LoadedPresets> {
  const { directory, shipped = shippedDirectory(), show = (path) => path } = options;
  const library = new Map<string, LibraryPreset>();
  const diagnostics: Diagnostic[] = [];
  const own = directory === undefined || (await sameDirectory(directory, shipped)) ? undefined : directory;
  const files: string[] = [];
  for (const place of own === undefined ? [shipped] : [shipped, own]) {
    const paths = await presetFiles(place).catch((fault: unknown) => {
      const message = `the presets cannot be read: ${explain(errorCode(fault))}`;
      diagnostics.push({ file: show(place), line: 1, column: 1, severity: "error", message });
      return [];
    });
    for (const path of paths) {
      const read = await readPreset(path, { shipped: place === shipped, show });
      diagnostics.push(...read.diagnostics);
      if (place === own) files.push(path);
      if (read.preset === undefined) continue;
      const clash = library.get(read.preset.name);
      if (clash === undefined) library.set(read.preset.name, read.preset);
      else
        diagnostics.push(
          nameError(read.preset, clash.shipped ? SHIPPED_NAME : "another preset has this name"),
        );
    }
  }
  diagnostics.push(...checkIncludes(library));
  return { library, diagnostics, files };
}

/** The presets named and all that they include, each once, in the order of first mention. Unknown names are passed over. */
export function flattenPresets(library: Library, names: readonly string[]): Preset[] {
  const found = new Map<string, Preset>();
  const seen = new Set<string>();
  const add = (name: string): void => {
    const preset = library.get(name);
    if (preset === undefined || seen.has(name)) return;
    seen.add(name);
    if (preset.hosts.length > 0 || name === UNRESTRICTED) {
      found.set(name, { name, patterns: preset.hosts, intents: preset.intents });
    }
    for (const included of preset.include) add(included);
  };
  for (const name of names) add(name);
  const parts = new Map([...seen].map((name) => [name, partsOf(library, name)]));
  return [...found.values()].map((preset) => {
    const by = [...seen].filter((one) => one !== preset.name && parts.get(one)?.has(preset.name) === true);
    return by.length === 0 ? preset : { ...preset, by };
  });
}

/** Names of all that it is made of, itself included. */
function partsOf(library: Library, name: string, parts = new Set<string>()): ReadonlySet<string> {
  if (parts.has(name)) return parts;
  parts.add(name);
  for (const included of library.get(name)?.include ?? []) partsOf(library, included, parts);
  return parts;
}

async function readPreset(
  path: string,
  { shipped, show }: { shipped: boolean; show: (path: string) => string },
): Promise<{ preset: LibraryPreset | undefined; diagnostics: readonly Diagnostic[] }> {
  const file = show(path);
  const read = await readText(path);
  if (read.state !== "read") {
    const message = `the preset cannot be read: ${read.why}`;
    return { preset: undefined, diagnostics: [{ file, line: 1, column: 1, severity: "error", message }] };
  }
  const { source, diagnostics } = parseSource(file, read.text);
  if (source === undefined) return { preset: undefined, diagnostics };
  const parsed = presetSchema.safeParse(source.value);
  if (!parsed.success) {
    const found = describeIssues(source, presetSchema, parsed.error.issues);
    return { preset: undefined, diagnostics: [...diagnostics, ...found] };
  }
  const preset = { ...parsed.data, shipped, source };
  const expected = basename(path, EXTENSION);
  const misnamed =
    preset.name === expected
      ? []
      : [nameError(preset, `expected ${JSON.stringify(expected)}, as the file is called`)];
  return { preset, diagnostics: [...diagnostics, ...misnamed] };
}

function nameError({ source, name }: LibraryPreset, why: string): Diagnostic {
  return source.error(source.at(["name"], "value"), `preset ${JSON.stringify(name)}: ${why}`);
}

/** Every include names a preset, and none comes back to where it started. */
function checkIncludes(library: Library): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const done = new Set<string>();
  const visit = (preset: LibraryPreset, trail: readonly string[]): void => {
    for (const [index, name] of preset.include.entries()) {
      const error = (message: string) =>
        diagnostics.push(preset.source.error(preset.source.at(["include", index], "value"), message));
      const included = library.get(name);
      const chain = [...trail, preset.name];
      if (included === undefined) error(unknownPreset(name, library));
      else if (chain.includes(name))
        error(`presets include each other: ${[...chain.slice(chain.indexOf(name)), name].join(" -> ")}`);
      else if (!done.has(name)) visit(included, chain);
    }
    done.add(preset.name);
  };
  for (const preset of library.values()) if (!done.has(preset.name)) visit(preset, []);
  return diagnostics;
}

export function unknownPreset(name: string, library: Library): string {
  return `unknown preset ${JSON.stringify(name)}${didYouMean(name, library.keys())}`;
}

async function presetFiles(directory: string): Promise<string[]> {
  const names = (await readdir(directory)).filter(
    (name) => name.endsWith(EXTENSION) && !name.startsWith("."),
  );
  return names.sort().map((name) => join(directory, name));
}

/** In a checkout the working directory's `presets` is the shipped one itself. */
async function sameDirectory(a: string, b: string): Promise<boolean> {
  const real = (path: string) => realpath(path).catch(() => undefined);
  const [first, second] = await Promise.all([real(a), real(b)]);
  return first !== undefined && first === second;
}

/** `presets/` beside the nearest package.json: the same from src/ and from dist/. */
export function shippedDirectory(from: string = import.meta.dirname): string {
  const parent = dirname(from);
  return existsSync(join(from, "package.json")) || parent === from
    ? join(from, "presets")
    : shippedDirectory(parent);
}

const SHIPPED_NAME = "a shipped preset has this name; choose another";
const EXTENSION = ".yaml";
/** The preset without patterns that means every host. */
export const UNRESTRICTED = "all";
