// What an administrator requires, from where the operator cannot change it: a file that is always read, one that sallyport.yaml
// names, and a variable. What is there and cannot be read, or could be changed by others, is an error (invariant 10).

import { isUtf8 } from "node:buffer";
import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import type { Limit, Requirements } from "../policy/requirements.ts";
import type { Diagnostic } from "./diagnostic.ts";
import type { Environment } from "./env.ts";
import { exposed } from "./guarded.ts";
import { budgetsOf } from "./budget-schema.ts";
import { describeIssues } from "./issues.ts";
import { errorCode, readText } from "./read.ts";
import { type ParsedRequirements, requirementsSchema } from "./requirements-schema.ts";
import { parseSource, type Path, type Source } from "./source.ts";

export type RequirementsPlace = {
  readonly file: string;
  /** Of whoever may write there beside root. */
  readonly owner: number;
};

export type FoundRequirements = {
  readonly requirements: readonly Requirements[];
  readonly diagnostics: readonly Diagnostic[];
  /** To watch, there or not. */
  readonly files: readonly string[];
};

export type FindOptions = {
  readonly env: Environment;
  readonly place?: RequirementsPlace | undefined;
  readonly show: (path: string) => string;
};

/** The administrator's own, whatever the operator's file says. */
export async function findRequirements({
  env,
  place = PLACE,
  show,
}: FindOptions): Promise<FoundRequirements> {
  const { file } = place;
  const read = (await isThere(file)) ? await readRequirements(place, show) : NOTHING;
  const encoded = env[VARIABLE];
  const told = encoded === undefined ? NOTHING : decode(encoded);
  return {
    requirements: [...read.requirements, ...told.requirements],
    diagnostics: [...read.diagnostics, ...told.diagnostics],
    // The directory too: it may be made later, with the file in it.
    files: [file, dirname(file)],
  };
}

/** Those in a file that sallyport.yaml names, by its absolute path. */
export async function namedRequirements(
  file: string,
  { place = PLACE, show }: Omit<FindOptions, "env">,
): Promise<FoundRequirements> {
  // It is read already.
  if (file === place.file) return { ...NOTHING, files: [] };
  return { ...(await readRequirements({ ...place, file }, show)), files: [file] };
}

type Read = Omit<FoundRequirements, "files">;

async function readRequirements(
  { file, owner }: RequirementsPlace,
  show: FindOptions["show"],
): Promise<Read> {
  const shown = show(file);
  const why = await exposed(file, owner);
  if (why !== undefined) return failed(shown, why);
  const read = await readText(file);
  if (read.state !== "read") return failed(shown, `the file cannot be read: ${read.why}`);
  return parse(shown, read.text);
}

function decode(encoded: string): Read {
  const octets = Buffer.from(encoded, "base64");
  const digits = encoded.replaceAll(/\s/g, "").replace(/=+$/, "");
  // Anything that is skipped in decoding would be a requirement that does not hold.
  if (octets.toString("base64").replace(/=+$/, "") !== digits || !isUtf8(octets))
    return failed(VARIABLE, "expected a text in base64");
  return parse(VARIABLE, octets.toString("utf8"));
}

function parse(file: string, text: string): Read {
  if (text.trim() === "") return failed(file, "this is empty; write {} if nothing is required");
  const { source, diagnostics } = parseSource(file, text);
  if (source === undefined) return { requirements: [], diagnostics };
  const parsed = requirementsSchema.safeParse(source.value);
  const found = [
    ...diagnostics,
    ...(parsed.success
      ? contradictions(source, parsed.data)
      : describeIssues(source, requirementsSchema, parsed.error.issues)),
  ];
  if (!parsed.success || found.length > 0) return { requirements: [], diagnostics: found };
  return { requirements: [settle(source, parsed.data)], diagnostics: [] };
}

function contradictions(source: Source, { methods = "all", splice = [] }: ParsedRequirements): Diagnostic[] {
  if (methods === "all" || splice.length === 0) return [];
  const message = "what is passed unread cannot be held to `methods`: leave `splice` out";
  return [source.error(source.at(["splice"], "key"), message)];
}

function settle(source: Source, parsed: ParsedRequirements): Requirements {
  const limit = <T>(path: Path, value: T): Limit<T> => {
    const { line, column } = source.at(path, "value");
    return { value, source: `${source.file}:${line}:${column}` };
  };
  const given = <T>(path: Path, value: T | undefined): Limit<T> | undefined =>
    value === undefined ? undefined : limit(path, value);
  const { audit, grants } = parsed;
  return {
    source: source.file,
    presets: given(["presets"], parsed.presets),
    methods: given(["methods"], parsed.methods === "all" ? undefined : parsed.methods),
    intents: parsed.intents,
    hosts: given(["hosts"], parsed.hosts),
    deny: parsed.deny.map((pattern, index) => limit(["deny", index], pattern)),
    splice: given(["splice"], parsed.splice),
    tcp: given(["tcp"], parsed.tcp),
    mode: given(["mode"], parsed.mode),
    budgets: budgetsOf(parsed.budgets, ["budgets"], source),
    durability: given(["audit", "durability"], audit.durability),
    grants: {
      role: given(["grants", "role"], grants.role),
      longestMs: given(["grants", "longest"], grants.longest),
      always: given(["grants", "always"], grants.always),
    },
  };
}

function failed(file: string, message: string): Read {
  return { requirements: [], diagnostics: [{ file, line: 1, column: 1, severity: "error", message }] };
}

/** Where that cannot be told, it is: reading it says why not. */
async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (fault: unknown) => errorCode(fault) !== "ENOENT",
  );
}

const NOTHING: Read = { requirements: [], diagnostics: [] };
const PLACE: RequirementsPlace = { file: "/etc/sallyport/requirements.yaml", owner: 0 };
const VARIABLE = "SALLYPORT_REQUIREMENTS_BASE64";
