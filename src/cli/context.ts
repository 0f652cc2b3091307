// What every command is handed: where it may write, where it stands, and how it says its exit code. Commands read no
// process-wide state, so that a test can be the terminal.

import type { Writable } from "node:stream";
import { styleText } from "node:util";
import type { Command } from "commander";

import { EXIT, type ExitCode } from "./errors.ts";

export type Context = {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  exitCode: ExitCode;
};

/** A terminal, a pipe or a file. */
export type Output = Writable & { readonly columns?: number; readonly isTTY?: boolean };

export type GlobalOptions = { readonly config?: string };

export function processContext(): Context {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    cwd: process.cwd(),
    exitCode: EXIT.ok,
  };
}

export function print(context: Context, text: string): void {
  context.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
}

export function printJson(context: Context, value: unknown): void {
  print(context, JSON.stringify(value, undefined, 2));
}

/** To the reader, beside the output that a pipe takes. */
export function note(context: Context, text: string): void {
  context.stderr.write(`sallyport: ${text}\n`);
}

export type Style = Parameters<typeof styleText>[0];

/** Colour on a terminal only; NO_COLOR and FORCE_COLOR are heeded. */
export function paint(context: Context, style: Style, text: string): string {
  return styleText(style, text, { stream: context.stdout, validateStream: true });
}

/** `--config` stands on the program, and is understood before and after the command's name. */
export function globalOptions(command: Command): GlobalOptions {
  return command.optsWithGlobals<GlobalOptions>();
}
