// `sallyport lockdown`: denies everything at once, to one sandbox or to all, until it is lifted.

import type { Command } from "commander";
import type * as z from "zod";

import type { LOCKDOWN } from "../../admin/schemas.ts";
import { apiClient } from "../api-client.ts";
import { minute, printList } from "../columns.ts";
import { type Context, print } from "../context.ts";
import { CliError, EXIT } from "../errors.ts";
import type { JsonOption } from "../options.ts";

type Lockdown = z.output<typeof LOCKDOWN>;
type Options = JsonOption & {
  readonly sandbox?: string;
  readonly all?: boolean;
  readonly reason?: string;
  readonly lift?: boolean;
};

export function addLockdown(program: Command, context: Context): void {
  program
    .command("lockdown")
    .summary("deny everything at once to one sandbox or to all; lift it again")
    .description(
      "Denies everything, cuts what is open, and keeps audit data from being deleted, until it is lifted. Without --sandbox and " +
        "--all it lists the lockdowns in force.",
    )
    .option("--sandbox <id>", "of this one")
    .option("--all", "of all of them, also of those that are yet to come, and of whoever is anonymous")
    .option("--reason <text>", "why; required")
    .option("--lift", "end it")
    .option("--json", "list as one JSON array")
    .addHelpText("after", HELP)
    .action(async (options: Options, command: Command) => {
      const { sandbox, all, reason, lift } = options;
      if (sandbox !== undefined && all === true)
        throw new CliError("say either --sandbox ID or --all.", EXIT.usage);
      const whom = all === true ? "*" : sandbox;
      if (whom === undefined && (lift === true || reason !== undefined))
        throw new CliError("say of whom: --sandbox ID, or --all.", EXIT.usage);
      if (whom !== undefined && reason === undefined)
        throw new CliError("say why: --reason TEXT.", EXIT.usage);
      const api = await apiClient(context, command);
      const who = whom === "*" ? "all sandboxes" : (whom ?? "");
      if (whom === undefined) {
        const { items } = await api.call<{ items: Lockdown[] }>("GET", "/v1/lockdowns");
        return list(context, items, options);
      }
      if (lift === true) {
        await api.call(
          "DELETE",
          `/v1/lockdowns/${encodeURIComponent(whom)}?reason=${encodeURIComponent(reason ?? "")}`,
        );
        return print(context, `the lockdown of ${who} is lifted.`);
      }
      await api.call("POST", "/v1/lockdowns", { sandbox: whom, reason });
      return print(context, `lockdown of ${who}: everything is denied, and what was open is cut.`);
    });
}

function list(context: Context, lockdowns: readonly Lockdown[], options: JsonOption): void {
  printList(context, options, {
    items: lockdowns,
    columns: [
      ["OF", ({ sandbox }) => (sandbox === "*" ? "all" : sandbox)],
      ["SINCE", ({ ordered_at }) => minute(ordered_at)],
      ["BY", ({ ordered_by }) => ordered_by],
      ["REASON", ({ reason }) => reason],
    ],
    nothing: "no lockdown is in force.",
  });
}

const HELP = `
Examples:
  sallyport lockdown --all --reason "a leaked key is being looked for"
  sallyport lockdown --sandbox task-42 --reason "odd uploads"
  sallyport lockdown --sandbox task-42 --lift --reason "it was the test suite"`;
