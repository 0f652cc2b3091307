// The command line: finds the command, runs it, and turns how that ended into an exit code and, where it failed, one
// line that says what to do. Commands import what is heavy when they run, so that help and completion answer at once.

import { readFileSync } from "node:fs";
import { inspect } from "node:util";
import { Command, CommanderError } from "commander";

import { addApprovals } from "./commands/approvals.ts";
import { addAudit } from "./commands/audit.ts";
import { addCa } from "./commands/ca.ts";
import { addCheck } from "./commands/check.ts";
import { addCompletion } from "./commands/completion.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addEnv } from "./commands/env.ts";
import { addExec } from "./commands/exec.ts";
import { addExplain } from "./commands/explain.ts";
import { addGrant } from "./commands/grant.ts";
import { addLockdown } from "./commands/lockdown.ts";
import { addPresets } from "./commands/presets.ts";
import { addRun } from "./commands/run.ts";
import { addSandbox } from "./commands/sandbox.ts";
import { addToken } from "./commands/token.ts";
import { type Context, note, processContext } from "./context.ts";
import { CliError, EXIT, type ExitCode } from "./errors.ts";

export async function main(): Promise<void> {
  const context = processContext();
  // `sallyport audit tail | head`: whoever reads has enough, which is no failure.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      process.exit();
    });
  }
  process.exitCode = await runCli(process.argv.slice(2), context);
}

export async function runCli(argv: readonly string[], context: Context): Promise<ExitCode> {
  try {
    await buildProgram(context).parseAsync(argv, { from: "user" });
    return context.exitCode;
  } catch (error) {
    return report(error, context);
  }
}

export function buildProgram(context: Context): Command {
  const program = new Command("sallyport")
    .description(
      "The controlled exit of AI-agent sandboxes: an egress-filtering, TLS-intercepting forward proxy.",
    )
    .version(version(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print help for a command")
    .helpCommand(false)
    .option("-c, --config <file>", "the operator's file (default: sallyport.yaml here, or none)")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(text),
      getOutHelpWidth: () => context.stdout.columns ?? 100,
      getErrHelpWidth: () => context.stderr.columns ?? 100,
      outputError: (text, write) => write(text.replace(/^error: /, "sallyport: ")),
    })
    .showHelpAfterError("Add --help to see what is understood.")
    .addHelpText("after", PROGRAM_HELP)
    .exitOverride();
  const own = [addRun, addCheck, addExplain, addEnv, addDoctor, addExec, addCa, addPresets, addAudit];
  const asking = [addSandbox, addApprovals, addGrant, addLockdown, addToken];
  for (const addCommand of [...own, ...asking, addCompletion]) addCommand(program, context);
  return program;
}

function report(error: unknown, context: Context): ExitCode {
  // Commander has already said it.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof CliError) {
    note(context, error.message);
    return error.exitCode;
  }
  note(
    context,
    error instanceof Error && !isDefect(error) ? error.message : `this is a defect: ${inspect(error)}`,
  );
  return EXIT.failure;
}

/** What the language throws is ours to mend; the rest (no such file, a key that does not match) is the reader's. */
function isDefect(error: Error): boolean {
  return [TypeError, ReferenceError, RangeError, SyntaxError].some((kind) => error instanceof kind);
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

const PROGRAM_HELP = `
Examples:
  sallyport run                                      start the proxy, with or without a file
  sallyport check                                    say what is wrong with sallyport.yaml
  sallyport explain POST https://api.github.com/     say why that is denied, and what would allow it
  eval "$(sallyport env)"                            make this shell a sandbox of it

Exit codes: 0 done (allowed, valid) · 1 failed (invalid) · 2 wrong usage · 3 denied (explain)`;

if (import.meta.main) await main();
