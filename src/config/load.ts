// sallyport.yaml, from its text to the configuration that runs, or every reason why not, at once. Decides nothing about
// traffic, changes nothing, and never throws because of what a file says.

import { lstat, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { didYouMean, sortDiagnostics, type Diagnostic } from "./diagnostic.ts";
import { expandSecrets, type Environment } from "./env.ts";
import { describeIssues } from "./issues.ts";
import { buildPolicies } from "./policies.ts";
import { checkParents, parentsOf } from "./parents.ts";
import { loadPresets, type LoadedPresets } from "./presets.ts";
import { checkPolicies } from "./problems.ts";
import { errorCode, explain, readText } from "./read.ts";
import { checkReferences } from "./references.ts";
import { checkRequirements } from "./above.ts";
import {
  findRequirements,
  type FoundRequirements,
  namedRequirements,
  type RequirementsPlace,
} from "./requirements.ts";
import { configSchema } from "./schema.ts";
import { readSecrets, shortestPeriod } from "./secret-values.ts";
import { settle } from "./settle.ts";
import { isRecord, parseSource, type Path, type Source } from "./source.ts";
import type { Loaded } from "./types.ts";
import { isPath } from "./values.ts";

export type LoadOptions = {
  /** The operator's `--config`; absent: `sallyport.yaml` in `cwd`, and the defaults where that is not. */
  readonly path?: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
  /** A file without a word stands for the defaults; else it is an error. True by default. */
  readonly mayBeEmpty?: boolean;
  /** Runs the commands that secrets come from: it is to hold. False by default. */
  readonly commands?: boolean;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
  /** Other than the package's own only in tests. */
  readonly shippedPresets?: string;
  /** Other than the system's own only in tests. */
  readonly requirements?: RequirementsPlace | undefined;
};

export async function loadConfig(options: LoadOptions): Promise<Loaded> {
  const { cwd } = options;
  const file = resolve(cwd, options.path ?? FILE_NAME);
  const show = (path: string): string => {
    const inside = relative(cwd, path);
    return inside === "" || inside.startsWith("..") || isAbsolute(inside) ? path : inside;
  };
  const shown = show(file);
  // First of all: whatever is wrong with the operator's file, the administrator's word is known.
  const required = await findRequirements({ env: options.env, place: options.requirements, show });
  const fail = (message: string): Loaded => ({
    ok: false,
    diagnostics: sortDiagnostics([
      { file: shown, line: 1, column: 1, severity: "error", message },
      ...required.diagnostics,
    ]),
    requirements: required.requirements,
    files: [file, ...required.files],
  });

  const there = await exists(file);
  if (!there && options.path === undefined) {
    const other = await misnamed(cwd);
    if (other !== undefined) return fail(`${other} is not read; call it ${FILE_NAME}`);
    return judge({
      ...options,
      text: DEFAULTS,
      shown: BUILT_IN,
      show,
      directory: cwd,
      watch: file,
      file: undefined,
      required,
    });
  }
  const read = await readText(file);
  if (read.state !== "read") return fail(`the file cannot be read: ${read.why}`);
  if (options.mayBeEmpty === false && read.text.trim() === "") return fail(EMPTIED);
  const { text } = read;
  return judge({ ...options, text, shown, show, directory: dirname(file), watch: file, file, required });
}

type Task = LoadOptions & {
  text: string;
  /** How diagnostics name the file, and others beside it. */
  shown: string;
  show: (path: string) => string;
  /** Relative paths start here. */
  directory: string;
  watch: string;
  file: string | undefined;
  /** By the administrator. */
  required: FoundRequirements;
};

async function judge(task: Task): Promise<Loaded> {
  const { source, diagnostics: misread } = parseSource(task.shown, task.text);
  if (source === undefined) {
    const { requirements, diagnostics, files } = task.required;
    const all = sortDiagnostics([...misread, ...diagnostics]);
    return { ok: false, diagnostics: all, requirements, files: [task.watch, ...files] };
  }
  // An empty file is a file that says nothing, not a wrong one.
  const raw = source.value === null ? { ...source, value: {} } : source;

  const { presets, directory, diagnostics: noPresets } = await findPresets(raw, task);
  const { requirements, diagnostics: misrequired, files: required } = await allRequired(raw, task);
  const files = [task.watch, directory, ...presets.files, ...required];
  const { value, diagnostics: unset, variables } = expandSecrets(raw, task.env);
  const parsed = configSchema.safeParse(value);
  const found = [
    ...misread,
    ...noPresets,
    ...presets.diagnostics,
    ...misrequired,
    ...unset,
    ...checkReferences(source, value, presets.library),
    ...checkParents(source),
    ...(await checkFiles(source, task.directory)),
    ...(parsed.success ? [] : describeIssues(raw, configSchema, parsed.error.issues)),
  ];
  const fail = (diagnostics: readonly Diagnostic[]): Loaded => ({
    ok: false,
    diagnostics: sortDiagnostics(diagnostics),
    requirements,
    files,
  });
  if (!parsed.success || hasErrors(found)) return fail(found);

  const now = (task.now ?? Date.now)();
  const env = task.commands === true ? task.env : undefined;
  const secrets = await readSecrets(parsed.data.policies, { source, directory: task.directory, env });
  files.push(...secrets.files);
  if (secrets.diagnostics.length > 0) return fail([...found, ...secrets.diagnostics]);
  const built = buildPolicies(parsed.data.policies, {
    source,
    library: presets.library,
    secrets: secrets.of,
    now,
  });
  const set = { generation: 0, policies: built.policies, requirements };
  const { snapshot, diagnostics: unfit } = checkPolicies(set, source);
  const above = checkRequirements(set, { parsed: parsed.data, source });
  const warnings = [...found, ...built.warnings, ...unfit, ...above];
  if (snapshot === undefined || hasErrors(warnings)) return fail(warnings);
  // The file itself may say what they are.
  const written = secrets.of.size === 0 || task.file === undefined ? [] : [task.file];
  const operators = presets.files.length > 0 || parsed.data.presets !== undefined ? directory : undefined;
  return {
    ok: true,
    config: settle(parsed.data, {
      directory: task.directory,
      presets: operators,
      secrets: {
        variables,
        files: [...secrets.files, ...written],
        everyMs: shortestPeriod(parsed.data.policies),
      },
    }),
    policies: built.policies,
    requirements,
    snapshot: (generation) => ({ ...snapshot, generation }),
    warnings: sortDiagnostics(warnings),
    files,
    file: task.file,
    at: (path) => ({ file: task.shown, ...source.at(path, "key") }),
  };
}

function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some(({ severity }) => severity === "error");
}

/** The administrator's, and those that the operator's file names. */
async function allRequired(source: Source, task: Task): Promise<FoundRequirements> {
  const { requirements, diagnostics, files } = task.required;
  const named = isRecord(source.value) ? source.value["requirements"] : undefined;
  if (typeof named !== "string" || !isPath(named)) return task.required;
  const more = await namedRequirements(resolve(task.directory, named), {
    place: task.requirements,
    show: task.show,
  });
  return {
    requirements: [...requirements, ...more.requirements],
    diagnostics: [...diagnostics, ...more.diagnostics],
    files: [...files, ...more.files],
  };
}

type FoundPresets = { presets: LoadedPresets; directory: string; diagnostics: Diagnostic[] };

async function findPresets(source: Source, task: Task): Promise<FoundPresets> {
  const named = isRecord(source.value) ? source.value["presets"] : undefined;
  const directory = resolve(task.directory, typeof named === "string" && named !== "" ? named : "presets");
  const there = await isDirectory(directory);
  const presets = await loadPresets({
    directory: there ? directory : undefined,
    shipped: task.shippedPresets,
    show: task.show,
  });
  const missing = typeof named === "string" && !there;
  const message = "this directory is not there";
  return {
    presets,
    directory,
    diagnostics: missing ? [source.error(source.at(["presets"], "value"), message)] : [],
  };
}

/** Every file that is named must be there: a missing CA or revocation list fails at load, not at the first request. */
async function checkFiles(source: Source, directory: string): Promise<Diagnostic[]> {
  const diagnostics: Diagnostic[] = [];
  for (const { path, file } of namedFiles(source.value)) {
    const why = await unreadable(resolve(directory, file));
    const hint = path.includes("trust") ? didYouMean(file, TRUST_WORDS) : "";
    if (why !== undefined)
      diagnostics.push(source.error(source.at(path, "value"), `the file cannot be read: ${why}${hint}`));
  }
  return diagnostics;
}

function namedFiles(value: unknown): { path: Path; file: string }[] {
  const { ca, tls, ticket_keys, upstream } = isRecord(value) ? value : {};
  const places: { path: Path; file: unknown }[] = [{ path: ["ticket_keys"], file: ticket_keys }];
  if (isRecord(ca))
    for (const key of ["cert", "key", "chain"]) places.push({ path: ["ca", key], file: ca[key] });
  const lists: { path: Path; files: unknown }[] = ["trust", "crls"].map((key) => ({
    path: ["upstream", key],
    files: isRecord(upstream) ? upstream[key] : undefined,
  }));
  for (const { path, parent } of parentsOf(value))
    lists.push({ path: [...path, "trust"], files: parent["trust"] });
  if (isRecord(tls))
    for (const key of ["cert", "key", "client_ca"]) places.push({ path: ["tls", key], file: tls[key] });
  for (const { path, files } of lists) {
    if (!Array.isArray(files)) continue;
    places.push(...files.map((file: unknown, index) => ({ path: [...path, index], file })));
  }
  return places.flatMap(({ path, file }) =>
    typeof file !== "string" || !isPath(file) || TRUST_WORDS.has(file) ? [] : [{ path, file }],
  );
}

async function unreadable(path: string): Promise<string | undefined> {
  try {
    return (await stat(path)).isFile() ? undefined : "it is not a file";
  } catch (fault) {
    return explain(errorCode(fault));
  }
}

/** A link that leads nowhere is there: it was meant to be read. */
async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (fault: unknown) => errorCode(fault) !== "ENOENT",
  );
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function misnamed(cwd: string): Promise<string | undefined> {
  for (const name of MISNAMED) if (await exists(join(cwd, name))) return name;
  return undefined;
}

const FILE_NAME = "sallyport.yaml";
const MISNAMED = ["sallyport.yml", "sallyport.json"];
const BUILT_IN = "built-in";
/** What holds with no file at all. With one, absence of `anonymous` means 407. */
const DEFAULTS = "anonymous: default\n";
const EMPTIED = "the file is empty; write `{}` if the defaults are meant to hold";
const TRUST_WORDS = new Set(["system", "bundled"]);
