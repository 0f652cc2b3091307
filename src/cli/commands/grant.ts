// `sallyport grant`: what is allowed for a while, beyond what the policies say.

import type { Command } from "commander";
import type * as z from "zod";

import type { GRANT } from "../../admin/schemas.ts";
import { apiClient } from "../api-client.ts";
import { minute, printList } from "../columns.ts";
import { type Context, print, printJson } from "../context.ts";
import { another, type JsonOption } from "../options.ts";

type Grant = z.output<typeof GRANT>;
type CreateOptions = JsonOption & {
  readonly sandbox?: string;
  readonly method: readonly string[];
  readonly path: readonly string[];
  readonly port: readonly string[];
  readonly for: string;
  readonly reason: string;
};

export function addGrant(program: Command, context: Context): void {
  const grant = program
    .command("grant")
    .summary("allow something for a while, list and revoke what is granted")
    .description(
      "A grant allows what no rule does, for a time, with a reason. Deny rules and requirements stand above it.",
    )
    .helpCommand(false)
    .addHelpText("after", HELP);
  addCreate(grant, context);
  addList(grant, context);
  grant
    .command("revoke")
    .description("Revoke a grant: what it let pass is cut.")
    .argument("<id>", "its id")
    .action(async (id: string, _options: unknown, command: Command) => {
      const api = await apiClient(context, command);
      await api.call("DELETE", `/v1/grants/${encodeURIComponent(id)}`);
      print(context, `${id} is revoked.`);
    });
}

function addCreate(grant: Command, context: Context): void {
  grant
    .command("create")
    .description("Grant a host.")
    .argument("<host>", "a name or pattern, as in a rule")
    .option("--sandbox <id>", "to this sandbox (default: to every one)")
    .option(
      "--method <method>",
      "such as POST, or all; may be repeated (default: GET, HEAD, OPTIONS)",
      another,
      [],
    )
    .option("--path <glob>", "only there; may be repeated", another, [])
    .option("--port <port>", "only there; may be repeated", another, [])
    .requiredOption("--for <span>", "how long, such as 2h")
    .requiredOption("--reason <text>", "why")
    .option("--json", "print one JSON object")
    .action(async (host: string, options: CreateOptions, command: Command) => {
      const api = await apiClient(context, command);
      const { sandbox, method, path, port, for: ttl, reason, json } = options;
      const made = await api.call<Grant>("POST", "/v1/grants", {
        host,
        ...(sandbox !== undefined && { sandbox }),
        ...(method.length > 0 && { methods: method.includes("all") ? "all" : method }),
        ...(path.length > 0 && { paths: path }),
        ...(port.length > 0 && { ports: port.map(Number) }),
        ttl,
        reason,
      });
      if (json === true) return printJson(context, made);
      print(context, `${made.id}: ${made.host} until ${minute(made.expires_at)}.`);
    });
}

function addList(grant: Command, context: Context): void {
  grant
    .command("list")
    .description("Print what is granted, and when it was last used.")
    .option("--sandbox <id>", "to this one alone")
    .option("--unused", "only what never let anything pass")
    .option("--json", "print one JSON array")
    .action(async (options: JsonOption & { sandbox?: string; unused?: boolean }, command: Command) => {
      const api = await apiClient(context, command);
      const used = options.unused === true ? "false" : undefined;
      const found = await api.all<Grant>("/v1/grants", { sandbox: options.sandbox, used });
      printList(context, options, {
        items: found,
        columns: [
          ["ID", ({ id }) => id],
          ["SANDBOX", ({ sandbox }) => sandbox ?? "all"],
          ["HOST", ({ host }) => host],
          ["METHODS", ({ methods }) => [methods].flat().join(",")],
          ["EXPIRES", ({ expires_at }) => minute(expires_at)],
          ["USED", ({ used_at }) => minute(used_at)],
          ["OWNER", ({ owner }) => owner],
          ["REASON", ({ reason }) => reason],
        ],
        nothing: "nothing is granted.",
      });
    });
}

const HELP = `
Examples:
  sallyport grant create files.example.com --sandbox task-42 --for 1h --reason "fixtures of the test"
  sallyport grant create api.example.com --method POST --path '/v1/issues/**' --for 30m --reason "files one issue"
  sallyport grant list --unused`;
