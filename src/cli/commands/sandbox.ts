// `sallyport sandbox`: what a runtime does through the API, by hand: register, look, move, change, end.

import { resolve } from "node:path";
import { type Command, Option } from "commander";
import type * as z from "zod";

import type { BUDGETS, FILES, REGISTERED, SANDBOX } from "../../admin/schemas.ts";
import { type ApiClient, apiClient } from "../api-client.ts";
import { minute, printList } from "../columns.ts";
import { type Context, note, print, printJson } from "../context.ts";
import { formatEnvironment } from "../environment-format.ts";
import { another, anotherLabel, type JsonOption } from "../options.ts";
import { writeFiles } from "../sandbox-files.ts";

type Sandbox = z.output<typeof SANDBOX>;
type Labels = Readonly<Record<string, string>>;

export function addSandbox(program: Command, context: Context): void {
  const sandbox = program
    .command("sandbox")
    .summary("register, list, move and end sandboxes of a running proxy")
    .description(
      "Asks the running proxy's API: over its Unix socket, or at SALLYPORT_ADMIN with SALLYPORT_TOKEN.",
    )
    .helpCommand(false)
    .addHelpText("after", HELP);
  addRegister(sandbox, context);
  addLooks(sandbox, context);
  addBudgets(sandbox, context);
  addChanges(sandbox, context);
}

type RegisterOptions = {
  readonly id?: string;
  readonly policy: string;
  readonly setupPolicy?: string;
  readonly phase?: "setup" | "agent";
  readonly ttl?: string;
  readonly setupFor?: string;
  readonly label: Labels;
  readonly source: readonly string[];
  readonly proxy?: string;
  readonly out?: string;
  readonly mountPoint?: string;
  readonly format: "text" | "json" | "shell" | "dotenv";
};

function addRegister(sandbox: Command, context: Context): void {
  sandbox
    .command("register")
    .description("Register a sandbox. Its secret is printed this once.")
    .option("--id <id>", "its id (default: one is made)")
    .requiredOption("--policy <name>", "the policy that holds for it")
    .option("--setup-policy <name>", "another policy for the phase setup")
    .addOption(new Option("--phase <phase>", "where it begins (default: agent)").choices(["setup", "agent"]))
    .option("--ttl <span>", "it ends by itself after so long, such as 2h")
    .option("--setup-for <span>", "it moves to agent by itself after so long")
    .option("--label <name=value>", "told in every record; may be repeated", anotherLabel, {})
    .option("--source <network>", "it needs no credentials from there; may be repeated", another, [])
    .option("--proxy <url>", "the proxy as the sandbox reaches it")
    .option("--out <dir>", "write the files that its environment names there")
    .option("--mount-point <dir>", "where the sandbox sees that directory (default: where it is written)")
    .addOption(
      new Option("--format <format>", "form of the output: the environment alone for shell and dotenv")
        .choices(["text", "json", "shell", "dotenv"])
        .default("text"),
    )
    .action(async (options: RegisterOptions, command: Command) => {
      const api = await apiClient(context, command);
      const out = options.out === undefined ? undefined : resolve(context.cwd, options.out);
      const seenAs = options.mountPoint ?? out;
      const { id, policy, setupPolicy, phase, ttl, setupFor, label, source, proxy } = options;
      const registered = await api.call<z.output<typeof REGISTERED>>("POST", "/v1/sandboxes", {
        ...defined({ id, phase, ttl, setup_for: setupFor, proxy, mount_point: seenAs }),
        policy: setupPolicy === undefined ? policy : { setup: setupPolicy, agent: policy },
        labels: label,
        ...(source.length > 0 && { sources: source }),
      });
      if (out !== undefined) await fetchFiles(api, out, seenAs ?? out);
      const { format } = options;
      if (format === "json") return printJson(context, registered);
      if (format !== "text") return print(context, formatEnvironment(format, registered.environment));
      print(context, `id      ${registered.sandbox.id}`);
      print(context, `secret  ${registered.secret}`);
      print(context, `proxy   ${registered.environment["HTTPS_PROXY"] ?? ""}`);
      note(context, "the secret is not told again; --format shell prints the whole environment.");
    });
}

/** What a sandbox of that proxy trusts. */
export async function fetchFiles(api: ApiClient, directory: string, seenAs: string): Promise<void> {
  const { files } = await api.call<z.output<typeof FILES>>(
    "GET",
    `/v1/files?mount_point=${encodeURIComponent(seenAs)}`,
  );
  writeFiles(
    directory,
    files.map(({ name, encoding, content }) => ({
      name,
      content: encoding === "base64" ? Buffer.from(content, "base64") : content,
    })),
  );
}

type ListOptions = JsonOption & { readonly state: string; readonly label: Labels };

function addLooks(sandbox: Command, context: Context): void {
  sandbox
    .command("list")
    .description("Print the sandboxes, those of the file too.")
    .addOption(
      new Option("--state <state>", "only those in it").choices(["active", "ended", "all"]).default("active"),
    )
    .option("--label <name=value>", "only those that have it; may be repeated", anotherLabel, {})
    .option("--json", "print one JSON array")
    .action(async (options: ListOptions, command: Command) => {
      const api = await apiClient(context, command);
      const { state, label } = options;
      const labels = Object.entries(label).map(([name, value]) => `${name}=${value}`);
      const found = await api.all<Sandbox>("/v1/sandboxes", { state, label: labels });
      printList(context, options, {
        items: found,
        columns: [
          ["ID", ({ id }) => id],
          ["STATE", (one) => (one.lockdown === null ? one.state : "lockdown")],
          ["PHASE", ({ phase }) => phase],
          ["POLICY", ({ phase, policy }) => policy[phase]],
          ["EXPIRES", ({ expires_at }) => minute(expires_at)],
          [
            "LABELS",
            ({ labels: all }) =>
              Object.entries(all)
                .map((pair) => pair.join("="))
                .join(" "),
          ],
        ],
        nothing: "there are none.",
      });
    });
  sandbox
    .command("show")
    .description("Print all that is known of one, as JSON.")
    .argument("<id>", "its id")
    .action(async (id: string, _options: unknown, command: Command) => {
      const api = await apiClient(context, command);
      printJson(context, await api.call<Sandbox>("GET", at(id)));
    });
}

function addBudgets(sandbox: Command, context: Context): void {
  sandbox
    .command("budgets")
    .description("Print what its policy lets it use up, and what it has spent.")
    .argument("<id>", "its id")
    .option("--json", "print one JSON array")
    .action(async (id: string, options: JsonOption, command: Command) => {
      const api = await apiClient(context, command);
      const { items } = await api.call<z.output<typeof BUDGETS>>("GET", `${at(id)}/budgets`);
      printList(context, options, {
        items,
        columns: [
          ["BUDGET", ({ name }) => name],
          ["HOST", ({ host }) => host ?? "all"],
          ["SPENT", ({ spent }) => String(spent)],
          ["LIMIT", ({ limit }) => String(limit)],
          ["RENEWS", ({ renews_at }) => minute(renews_at)],
        ],
        nothing: "its policy has none.",
      });
    });
}

type UpdateOptions = {
  readonly policy?: string;
  readonly setupPolicy?: string;
  readonly ttl?: string;
  readonly label?: Labels;
};

function addChanges(sandbox: Command, context: Context): void {
  sandbox
    .command("move")
    .description("Move it to another phase: to agent for good, back to setup by operators alone.")
    .argument("<id>", "its id")
    .argument("<phase>", "setup or agent")
    .action(async (id: string, phase: string, _options: unknown, command: Command) => {
      const api = await apiClient(context, command);
      const moved = await api.call<Sandbox>("POST", `${at(id)}/phase`, { phase });
      print(context, `${moved.id} is in ${moved.phase}, under the policy ${moved.policy[moved.phase]}.`);
    });
  sandbox
    .command("update")
    .description("Change its policy, labels or time to live. What is no longer allowed is cut.")
    .argument("<id>", "its id")
    .option("--policy <name>", "the policy that holds for it")
    .option("--setup-policy <name>", "another policy for the phase setup")
    .option("--ttl <span>", "it ends by itself after so long from now")
    .option("--label <name=value>", "in place of all its labels; may be repeated", (text, before) =>
      anotherLabel(text, (before as Labels | undefined) ?? {}),
    )
    .action(async (id: string, options: UpdateOptions, command: Command) => {
      const api = await apiClient(context, command);
      const { policy, setupPolicy, ttl, label } = options;
      const both = setupPolicy === undefined ? policy : { setup: setupPolicy, agent: policy };
      printJson(
        context,
        await api.call<Sandbox>("PATCH", at(id), defined({ policy: both, ttl, labels: label })),
      );
    });
  sandbox
    .command("end")
    .description("End it: its secret opens nothing any more, and what it has open is cut.")
    .argument("<id>", "its id")
    .option("--reason <text>", "why")
    .action(async (id: string, { reason }: { reason?: string }, command: Command) => {
      const api = await apiClient(context, command);
      const why = reason === undefined ? "" : `?reason=${encodeURIComponent(reason)}`;
      const ended = await api.call<Sandbox>("DELETE", `${at(id)}${why}`);
      print(context, `${ended.id} has ended.`);
    });
}

function at(id: string): string {
  return `/v1/sandboxes/${encodeURIComponent(id)}`;
}

function defined(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

const HELP = `
Examples:
  sallyport sandbox register --policy default --setup-policy setup --setup-for 10m --label task=42
  eval "$(sallyport sandbox register --policy default --out ./trust --format shell)"
  sallyport sandbox list
  sallyport sandbox move task-42 agent
  sallyport sandbox end task-42 --reason "the task is done"`;
