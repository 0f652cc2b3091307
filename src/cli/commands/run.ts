// `sallyport run`: starts the proxy and stays until it is told to stop.

import type { Command } from "commander";

import type { Sallyport } from "../../assemble.ts";
import { type Context, globalOptions, note } from "../context.ts";
import { CliError, EXIT } from "../errors.ts";

export function addRun(program: Command, context: Context): void {
  program
    .command("run")
    .summary("start the proxy")
    .description(
      "Starts the proxy and stays in the foreground. Without a file the defaults hold: loopback, read-only, common dependencies.",
    )
    .addHelpText("after", HELP)
    .action(async (_options: unknown, command: Command) => {
      const starting = start(context, globalOptions(command).config);
      // Before it is said that it listens: whoever waits for that may signal at once.
      const told = toldToStop(starting);
      const { broken } = await starting;
      if (context.stderr.isTTY === true)
        note(context, 'to make a shell a sandbox of it: eval "$(sallyport env)"');
      broken?.catch((error: unknown) => {
        note(context, error instanceof Error ? error.message : String(error));
        process.exit(EXIT.failure);
      });
      await told;
      // Whatever is still open has been let go of; it must not keep the process.
      process.exit();
    });
}

async function start(context: Context, configPath: string | undefined): Promise<Sallyport> {
  const { startSallyport } = await import("../../assemble.ts");
  const { ConfigurationError } = await import("../../assemble/reloads.ts");
  try {
    return await startSallyport({ configPath, cwd: context.cwd, env: context.env });
  } catch (error) {
    if (error instanceof ConfigurationError)
      throw new CliError(`the configuration is not valid:\n${error.message}`);
    throw explained(error);
  }
}

/** Resolves once everything is drained and closed. A second signal does not wait. */
function toldToStop(starting: Promise<Sallyport>): Promise<void> {
  return new Promise((resolve, reject) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) process.exit(1);
      stopping = true;
      starting.then((started) => started.stop()).then(resolve, reject);
    };
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, stop);
    process.on("SIGUSR2", () => void starting.then((started) => started.roll(), ignore));
    process.on("SIGHUP", () => void starting.then((started) => started.reload("signal"), ignore));
  });
}

/** Whoever waits for the start is told why it failed. */
function ignore(): void {}

function explained(error: unknown): unknown {
  if (!(error instanceof Error && "code" in error && "port" in error)) return error;
  const at = `${"address" in error ? String(error.address) : ""}:${String(error.port)}`;
  const why = LISTEN_ERRORS[String(error.code)];
  return why === undefined ? error : new CliError(`cannot listen on ${at}: ${why}.`);
}

const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: "something listens there already. Stop it, or change `listen` or `admin` in the file",
  EADDRNOTAVAIL: "this machine has no such address. Change `listen` or `admin` in the file",
  EACCES: "ports below 1024 need a privilege. Choose a higher one",
};

const HELP = `
Signals:
  SIGHUP            read the file again; an invalid one changes nothing
  SIGUSR2           restart the workers, one by one
  SIGTERM, SIGINT   drain and exit 0; a second one exits 1 at once

Examples:
  sallyport run
  sallyport run --config /etc/sallyport/sallyport.yaml`;
