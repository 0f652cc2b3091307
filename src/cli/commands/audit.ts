// `sallyport audit`: shows the log's records as they are written, and verifies that none was changed, dropped or moved.

import { createPublicKey } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";

import type { LogReport, VerifyReport } from "../../audit/verify.ts";
import { auditJson, auditLine } from "../audit-line.ts";
import { type Context, globalOptions, note, paint, print, printJson } from "../context.ts";
import { CliError, EXIT } from "../errors.ts";

const VERDICTS = ["allow", "deny", "fault"] as const;

type TailOptions = {
  readonly lines: number;
  readonly all?: boolean;
  readonly follow?: boolean;
  readonly verdict?: (typeof VERDICTS)[number];
  readonly host?: string;
  readonly sandbox?: string;
  readonly json?: boolean;
};
type PruneOptions = { readonly olderThan: string; readonly preview?: boolean };
type VerifyOptions = { readonly key?: string; readonly pruned?: boolean; readonly json?: boolean };

export function addAudit(program: Command, context: Context): void {
  const audit = program
    .command("audit")
    .summary("follow the audit log, and verify it")
    .description(
      "The audit log: two records for each exchange, its decision and its completion, in one signed chain.",
    )
    .helpCommand(false);
  audit
    .command("tail")
    .description("Print the last records of the log, and with --follow new ones as they are written.")
    .argument("[directory]", "the log (default: audit.directory of the operator's file)")
    .option("-n, --lines <number>", "how many of the last records", count, 20)
    .option("--all", "all records from the first on")
    .option("-f, --follow", "go on with new records")
    .addOption(new Option("--verdict <verdict>", "only exchanges that were decided so").choices(VERDICTS))
    .option("--host <host>", "only exchanges with this host")
    .option("--sandbox <id>", "only exchanges of this sandbox")
    .option("--json", "print the records as the log holds them, one a line")
    .addHelpText("after", TAIL_HELP)
    .action(async (directory: string | undefined, options: TailOptions, command: Command) =>
      tail(context, await logOf(context, directory, command), options),
    );
  audit
    .command("verify")
    .description(
      "Verify the log offline. The first record that was changed, dropped, moved or repeated is named.",
    )
    .argument(
      "[paths...]",
      "the log's directory, or segments in order (default: audit.directory of the operator's file)",
    )
    .option(
      "--key <file>",
      "the public key, PEM (default: audit.pub in the directory, which whoever changed the log could change too)",
    )
    .option("--pruned", "older segments were removed on purpose: begin with the first that is there")
    .option("--json", "print the report as one JSON object")
    .addHelpText("after", VERIFY_HELP)
    .action((paths: string[], options: VerifyOptions, command: Command) =>
      verify(context, { paths, options, command }),
    );
  audit
    .command("prune")
    .description(
      "Delete old segments, by the running proxy, which records it. Refused while a lockdown stands: that holds audit data.",
    )
    .requiredOption("--older-than <span>", "whole segments that were over so long ago, such as 90d")
    .option("--preview", "only say what would be deleted")
    .addHelpText("after", PRUNE_HELP)
    .action((options: PruneOptions, command: Command) => prune(context, options, command));
}

async function prune(
  context: Context,
  { olderThan: older_than, preview = false }: PruneOptions,
  command: Command,
): Promise<void> {
  const { apiClient } = await import("../api-client.ts");
  const api = await apiClient(context, command);
  type Pruned = { readonly segments: number; readonly octets: number };
  const { segments, octets } = await api.call<Pruned>("POST", "/v1/audit/prune", { older_than, preview });
  const what = `${segments} segment${segments === 1 ? "" : "s"}, ${octets} octets`;
  print(context, preview ? `would delete ${what}.` : `deleted ${what}; verify the rest with --pruned.`);
}

async function tail(context: Context, directory: string, options: TailOptions): Promise<void> {
  const { tailAudit } = await import("../../audit/tail.ts");
  if (!(await isDirectory(directory))) throw noLog(directory);
  const records = tailAudit({
    directory,
    from: options.all === true ? "start" : options.lines,
    follow: options.follow === true,
    filter: { verdict: options.verdict, host: options.host, sandbox: options.sandbox },
  });
  for await (const record of records) {
    const painted =
      options.json === true
        ? auditJson(record)
        : auditLine(record, (style, text) => paint(context, style, text));
    print(context, painted);
  }
}

async function verify(
  context: Context,
  { paths, options, command }: { paths: string[]; options: VerifyOptions; command: Command },
): Promise<void> {
  const { verifyAudit, verifyLog } = await import("../../audit/verify.ts");
  const named = paths.map((path) => resolve(context.cwd, path));
  const [log = await logOf(context, undefined, command)] = named;
  const single = named.length <= 1 && (await isDirectory(log));
  if (named.length === 0 && !single) throw noLog(log);
  const settings = {
    publicKeyPem: options.key === undefined ? undefined : await readKey(resolve(context.cwd, options.key)),
    pruned: options.pruned,
  };
  const { ok, chains, missing } = single
    ? await verifyLog(log, settings)
    : alone(await verifyAudit({ ...settings, from: { files: named } }));
  const [only] = chains;
  const several = chains.length + missing.length > 1;
  context.exitCode = ok ? EXIT.ok : EXIT.failure;
  if (options.json === true) {
    const reports = chains.map(({ chain, report }) => ({ chain: chain.name, ...report }));
    return printJson(context, several ? { ok, missing, chains: reports } : only?.report);
  }
  if (single && options.key === undefined) {
    note(
      context,
      "verified with the key in the log's own directory; --key FILE proves it against a copy kept elsewhere.",
    );
  }
  for (const { chain, report } of chains) {
    if (several) print(context, paint(context, "bold", `${chain.name === "" ? "primary" : chain.name}:`));
    say(context, report);
  }
  for (const name of missing)
    print(context, `${paint(context, "red", `${name}: missing`)}: it wrote a chain, and none is there`);
}

function alone(report: VerifyReport): LogReport {
  return { ok: report.ok, chains: [{ chain: { name: "", directory: "" }, report }], missing: [] };
}

function say(context: Context, report: VerifyReport): void {
  const { ok, problem, warnings, records, decisions, completions, segments, first, last, signed } = report;
  if (problem !== undefined) {
    const { file, line, seq, kind, detail } = problem;
    print(context, `${paint(context, "red", `${file}:${line}`)} record ${seq}: ${kind}: ${detail}`);
  }
  for (const warning of warnings) print(context, `${paint(context, "yellow", "warning:")} ${warning}`);
  const counts = `${records} records (${first} to ${last}) in ${segments} ${segments === 1 ? "segment" : "segments"}: ${decisions} decisions, ${completions} completions`;
  print(
    context,
    `${ok ? paint(context, "green", "whole") : paint(context, "red", "not whole")}: ${counts}; signed up to ${signed}`,
  );
}

async function logOf(context: Context, directory: string | undefined, command: Command): Promise<string> {
  if (directory !== undefined) return resolve(context.cwd, directory);
  const { loadValid } = await import("../load.ts");
  return (await loadValid(context, globalOptions(command))).config.audit.directory;
}

async function readKey(file: string): Promise<string> {
  const pem = await readFile(file, "utf8");
  try {
    createPublicKey(pem);
    return pem;
  } catch (error) {
    throw new CliError(
      `${file} holds no public key in PEM: the log's own is audit.pub.`,
      EXIT.failure,
      error,
    );
  }
}

function noLog(directory: string): CliError {
  return new CliError(`there is no audit log in ${directory}: the proxy makes it when it starts.`);
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function count(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new InvalidArgumentError("It is a whole number from 0 to 9999999.");
  return Number(text);
}

const TAIL_HELP = `
Examples:
  sallyport audit tail --follow --verdict deny
  sallyport audit tail --all --json | jq 'select(.reason == "push-not-allowed")'`;

const PRUNE_HELP = `
Examples:
  sallyport audit prune --older-than 90d --preview`;

const VERIFY_HELP = `
Examples:
  sallyport audit verify
  sallyport audit verify data/audit --key /safe/audit.pub

Exit codes: 0 whole · 1 not whole, or nothing could be verified`;
