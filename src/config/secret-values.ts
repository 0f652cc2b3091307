// The values of a policy's secrets: written in the file, read from one of their own, or printed by a command. No message says
// what was read or printed.

import { execFile } from "node:child_process";
import { resolve } from "node:path";
import type { Diagnostic } from "./diagnostic.ts";
import type { Environment } from "./env.ts";
import { errorCode, explain, readText } from "./read.ts";
import type { ParsedConfig } from "./schema.ts";
import { hasShortPassword, type ParsedSecret, secretValue, TOO_SHORT } from "./secret-schema.ts";
import type { Path, Source } from "./source.ts";

export type SecretValues = {
  readonly of: ReadonlyMap<ParsedSecret, string>;
  readonly diagnostics: readonly Diagnostic[];
  readonly files: readonly string[];
};

export type SecretsContext = {
  readonly source: Source;
  /** Relative paths start here, and commands run here. */
  readonly directory: string;
  /** For commands; `undefined`: none is run, and what passes for a secret stands for its word. */
  readonly env: Environment | undefined;
};

export async function readSecrets(
  policies: ParsedConfig["policies"],
  context: SecretsContext,
): Promise<SecretValues> {
  const of = new Map<ParsedSecret, string>();
  const diagnostics: Diagnostic[] = [];
  const files: string[] = [];
  const read = async (secret: ParsedSecret, path: Path): Promise<void> => {
    const { file, command } = secret;
    if (file !== undefined) files.push(resolve(context.directory, file));
    const found = await valueOf(secret, context);
    if ("value" in found) of.set(secret, found.value);
    else {
      const key = file === undefined ? (command === undefined ? "value" : "command") : "file";
      diagnostics.push(context.source.error(context.source.at([...path, key], "value"), found.problem));
    }
  };
  await Promise.all(
    Object.entries(policies).flatMap(([name, { secrets }]) =>
      secrets.map((secret, at) => read(secret, ["policies", name, "secrets", at])),
    ),
  );
  return { of, diagnostics, files };
}

/** When the first of them is to be read anew, in milliseconds. */
export function shortestPeriod(policies: ParsedConfig["policies"]): number | undefined {
  const all = Object.values(policies).flatMap(({ secrets }) => secrets.flatMap(({ every }) => every ?? []));
  return all.length === 0 ? undefined : Math.min(...all);
}

type Found = { readonly value: string } | { readonly problem: string };

async function valueOf(secret: ParsedSecret, { directory, env }: SecretsContext): Promise<Found> {
  const { value, file, command } = secret;
  if (file !== undefined) {
    const read = await readText(resolve(directory, file));
    return read.state === "read"
      ? fit(secret, read.text)
      : { problem: `the file cannot be read: ${read.why}` };
  }
  if (command === undefined) return { value: value ?? STAND_IN };
  if (env === undefined) return { value: STAND_IN };
  const printed = await run(command, { directory, env });
  return "problem" in printed ? printed : fit(secret, printed.value);
}

/** Programs and editors end their last line. */
function fit(secret: ParsedSecret, text: string): Found {
  const parsed = secretValue.safeParse(text.replace(/\r?\n$/, ""));
  if (!parsed.success) return { problem: parsed.error.issues[0]?.message ?? "expected a secret" };
  return hasShortPassword(secret, parsed.data) ? { problem: TOO_SHORT } : { value: parsed.data };
}

function run(
  [program = "", ...args]: readonly string[],
  { directory, env }: { readonly directory: string; readonly env: Environment },
): Promise<Found> {
  return new Promise((done) => {
    const options = {
      cwd: directory,
      env: { ...env },
      timeout: LIMIT_MS,
      maxBuffer: MOST,
      encoding: "utf8",
    } as const;
    const child = execFile(program, args, options, (fault, stdout) => {
      if (fault === null) return done({ value: stdout });
      done({ problem: `the command ${whyFailed(fault)}; run it by itself to see what it says` });
    });
    child.stdin?.end();
  });
}

function whyFailed(fault: Error): string {
  const code = errorCode(fault);
  if ("killed" in fault && fault.killed === true && code !== "ERR_CHILD_PROCESS_STDIO_MAXBUFFER")
    return `did not end within ${LIMIT_MS / 1000} seconds`;
  if (code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return "printed too much";
  return /^\d+$/.test(code) ? `ended with code ${code}` : `cannot be run: ${explain(code)}`;
}

const LIMIT_MS = 10_000;
const MOST = 16 * 1024;
const STAND_IN = "x".repeat(32);
