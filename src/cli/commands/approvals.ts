// `sallyport approvals`: what waits for somebody's decision, live, and the decision.

import type { Command } from "commander";
import type * as z from "zod";

import type { APPROVAL } from "../../admin/schemas.ts";
import { type ApiClient, apiClient } from "../api-client.ts";
import { visible } from "../audit-line.ts";
import { minute, printList } from "../columns.ts";
import { type Context, note, paint, print } from "../context.ts";
import { CliError, EXIT } from "../errors.ts";
import type { JsonOption } from "../options.ts";

type Approval = z.output<typeof APPROVAL>;
type AllowOptions = {
  readonly once?: boolean;
  readonly sandbox?: boolean;
  readonly for?: string;
  readonly always?: boolean;
  readonly reason: string;
};

export function addApprovals(program: Command, context: Context): void {
  const approvals = program
    .command("approvals")
    .summary("see what waits for a decision, and decide it")
    .description(
      "Requests that no rule allows, of policies with `ask`. Without a subcommand: those that wait.",
    )
    .helpCommand(false)
    .option("--watch", "stay, and print each as it comes")
    .option("--all", "those too that were decided or have expired of late")
    .option("--json", "print one JSON array, or with --watch one object a line")
    .addHelpText("after", HELP)
    .action(async (options: JsonOption & { watch?: boolean; all?: boolean }, command: Command) => {
      const api = await apiClient(context, command);
      if (options.watch === true) return watch(context, api, options);
      const found = await read(api, options.all === true ? "all" : "pending");
      printList(context, options, {
        items: found,
        columns: [
          ["ID", ({ id }) => id],
          ["STATE", ({ state, scope }) => (scope === null ? state : `${state} (${scope})`)],
          ["SANDBOX", ({ sandbox, source }) => sandbox ?? source ?? "anonymous"],
          ["REQUEST", (one) => `${one.method} ${urlOf(one)}`],
          ["WHY", ({ reason }) => reason],
          ["ASKED", ({ asked_at }) => minute(asked_at)],
        ],
        nothing: "nothing waits.",
      });
    });
  addDecisions(approvals, context);
}

function addDecisions(approvals: Command, context: Context): void {
  approvals
    .command("allow")
    .description("Allow what was asked: once, unless something else is said.")
    .argument("<id>", "the approval's id, which the sandbox was told too")
    .option("--once", "the requests that wait, or the next one of that kind")
    .option("--sandbox", "as long as the sandbox lives")
    .option("--for <span>", "for so long, such as 2h")
    .option("--always", "as a rule that is written into the policy's file")
    .requiredOption("--reason <text>", "why")
    .action(async (id: string, options: AllowOptions, command: Command) => {
      const decision = { action: "allow", ...scopeOf(options), reason: options.reason };
      await decide(context, command, { id, decision });
    });
  approvals
    .command("deny")
    .description("Deny it; the same is not asked again for ten minutes.")
    .argument("<id>", "the approval's id")
    .requiredOption("--reason <text>", "why")
    .action(async (id: string, { reason }: { reason: string }, command: Command) => {
      await decide(context, command, { id, decision: { action: "deny", reason } });
    });
}

function scopeOf({ once, sandbox, for: span, always }: AllowOptions): object {
  const scopes = [
    ...(once === true ? [{ scope: "once" }] : []),
    ...(sandbox === true ? [{ scope: "sandbox" }] : []),
    ...(span === undefined ? [] : [{ scope: "time", for: span }]),
    ...(always === true ? [{ scope: "always" }] : []),
  ];
  if (scopes.length > 1) throw new CliError("say one of --once, --sandbox, --for and --always.", EXIT.usage);
  return scopes[0] ?? { scope: "once" };
}

async function decide(
  context: Context,
  command: Command,
  { id, decision }: { readonly id: string; readonly decision: object },
): Promise<void> {
  const api = await apiClient(context, command);
  const decided = await api.call<Approval>("POST", `/v1/approvals/${encodeURIComponent(id)}`, decision);
  const { state, scope } = decided;
  print(
    context,
    visible(`${id}: ${state}${scope === null ? "" : ` (${scope})`}: ${decided.method} ${urlOf(decided)}`),
  );
}

/** Each is printed once, whatever changes meanwhile. */
async function watch(context: Context, api: ApiClient, { json }: JsonOption): Promise<void> {
  const seen = new Set<string>();
  note(context, "waiting for what policies ask about; Ctrl-C ends it.");
  for await (const _changed of api.changes()) {
    const pending = await read(api, "pending");
    for (const approval of pending.filter(({ id }) => !seen.has(id))) {
      seen.add(approval.id);
      if (json === true) print(context, JSON.stringify(approval));
      else say(context, approval);
    }
  }
  throw new CliError("the proxy has ended.");
}

function say(context: Context, approval: Approval): void {
  const { id, sandbox, source, labels, reason, method } = approval;
  const who = sandbox ?? source ?? "anonymous";
  const known = Object.entries(labels).map((pair) => pair.join("="));
  print(context, `${paint(context, "bold", id)}  ${visible([who, ...known].join(" "))}`);
  print(context, visible(`  ${method} ${urlOf(approval)}  (${reason})`));
  print(
    context,
    paint(context, "dim", `  sallyport approvals allow ${id} --reason …  |  deny ${id} --reason …`),
  );
}

function read(api: ApiClient, state: "pending" | "all"): Promise<Approval[]> {
  return api.all<Approval>("/v1/approvals", { state });
}

function urlOf({ scheme, host, port, path, query }: Approval): string {
  const usual = port === (scheme === "https" ? 443 : 80);
  return `${scheme}://${host}${usual ? "" : `:${port}`}${path}${query ? "?…" : ""}`;
}

const HELP = `
Examples:
  sallyport approvals --watch
  sallyport approvals allow ap_MYuHkdmK3mMljSQ4 --for 2h --reason "fixtures of the test"
  sallyport approvals deny ap_MYuHkdmK3mMljSQ4 --reason "no uploads to paste sites"`;
