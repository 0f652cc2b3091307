// `sallyport token`: tokens of the API, by role.

import { type Command, Option } from "commander";
import type * as z from "zod";

import type { CREATED_TOKEN, TOKEN } from "../../admin/schemas.ts";
import { EVERYBODY } from "../../admin/route.ts";
import { apiClient } from "../api-client.ts";
import { minute, printList } from "../columns.ts";
import { type Context, note, print, printJson } from "../context.ts";
import { CliError } from "../errors.ts";
import type { JsonOption } from "../options.ts";

type Token = z.output<typeof TOKEN>;

export function addToken(program: Command, context: Context): void {
  const token = program
    .command("token")
    .summary("create, list and revoke tokens of the API")
    .description(
      "Who may do what through the API. A token's secret is told once; the proxy keeps a digest alone.",
    )
    .helpCommand(false)
    .addHelpText("after", HELP);
  addCreate(token, context);
  addList(token, context);
  addRevoke(token, context);
}

function addCreate(token: Command, context: Context): void {
  token
    .command("create")
    .description("Create a token. Its secret is all that is printed.")
    .requiredOption("--name <name>", "by which records tell it")
    .addOption(new Option("--role <role>", "what it may do").choices(EVERYBODY).makeOptionMandatory())
    .option("--ttl <span>", "it expires after so long, such as 30d (default: never)")
    .option("--json", "print one JSON object")
    .action(async (options: JsonOption & { name: string; role: string; ttl?: string }, command: Command) => {
      const api = await apiClient(context, command);
      const { name, role, ttl, json } = options;
      const body = { name, role, ...(ttl !== undefined && { ttl }) };
      const created = await api.call<z.output<typeof CREATED_TOKEN>>("POST", "/v1/tokens", body);
      if (json === true) return printJson(context, created);
      note(context, `a token of role ${role}, named ${name}; it is not told again:`);
      print(context, created.secret);
    });
}

function addList(token: Command, context: Context): void {
  token
    .command("list")
    .description("Print the tokens, never their secrets.")
    .option("--json", "print one JSON array")
    .action(async (options: JsonOption, command: Command) => {
      const { items } = await (await apiClient(context, command)).call<Items>("GET", "/v1/tokens");
      printList(context, options, {
        items,
        columns: [
          ["NAME", ({ name }) => name],
          ["ROLE", ({ role }) => role],
          ["EXPIRES", ({ expires_at }) => minute(expires_at)],
          ["CREATED", ({ created_at, created_by }) => `${minute(created_at)} by ${created_by}`],
        ],
        nothing: "there are none.",
      });
    });
}

function addRevoke(token: Command, context: Context): void {
  token
    .command("revoke")
    .description("Revoke a token: it opens nothing any more.")
    .argument("<name>", "its name or id")
    .action(async (name: string, _options: unknown, command: Command) => {
      const api = await apiClient(context, command);
      const { items } = await api.call<Items>("GET", "/v1/tokens");
      const found = items.find((one) => one.name === name || one.id === name);
      if (found === undefined) throw new CliError(`there is no token ${JSON.stringify(name)}.`);
      await api.call("DELETE", `/v1/tokens/${encodeURIComponent(found.id)}`);
      print(context, `${found.name} is revoked.`);
    });
}

type Items = { readonly items: Token[] };

const HELP = `
Roles: viewer reads; approver decides approvals too; operator sandboxes, grants and lockdown too; admin tokens too;
runtime registers sandboxes, and sees and touches its own alone.

Examples:
  sallyport token create --name ci --role runtime --ttl 30d
  sallyport token revoke ci`;
