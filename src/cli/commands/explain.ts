// `sallyport explain`: why a request is allowed or denied, step by step, and the smallest change that would turn it.

import { type Command, InvalidArgumentError, Option } from "commander";

import type { Config } from "../../config/types.ts";
import { type Address, parseAddress } from "../../net/address.ts";
import { formatAuthority } from "../../net/authority.ts";
import { isAddressLiteral } from "../../net/host.ts";
import { REASONS } from "../../net/reasons.ts";
import type { AddressFacts, Phase, Standing } from "../../policy/types.ts";
import { type Context, globalOptions, paint, print, printJson, type Style } from "../context.ts";
import { CliError, EXIT } from "../errors.ts";
import type { Asked, Judged, Walk } from "../explain.ts";
import type { Who } from "../who.ts";

type Options = {
  readonly sandbox?: string;
  readonly listener?: string;
  readonly source?: string;
  readonly phase?: Phase;
  readonly policy?: string;
  readonly address: readonly Address[];
  readonly json?: boolean;
};

export function addExplain(program: Command, context: Context): void {
  program
    .command("explain")
    .summary("say why a request is allowed or denied, and what would turn it")
    .description(
      "Takes a request through every stage of the policy, as the proxy would, and prints each step's verdict and the smallest " +
        "change that would turn a denial. Nothing is sent and no name is resolved.",
    )
    .argument("<method>", "such as GET, exact and case-sensitive; CONNECT takes host:port")
    .argument("<url>", "such as https://example.com/path; ws:// and wss:// for WebSockets")
    .option(
      "--sandbox <id>",
      "as this sandbox, of the file or of the running proxy (default: a connection without credentials)",
    )
    .option("--listener <where>", "as it comes in there: address:port or a socket's path, as in listen")
    .option("--source <ip>", "as it comes from this address")
    .addOption(new Option("--phase <phase>", "with --sandbox: in this phase").choices(["setup", "agent"]))
    .addOption(
      new Option("--policy <name>", "under this policy").conflicts([
        "sandbox",
        "listener",
        "source",
        "phase",
      ]),
    )
    .addOption(
      new Option("--address <ip>", "an address that the host resolves to; may be repeated")
        .argParser(anotherAddress)
        .default([], "upstream.hosts of the file"),
    )
    .option("--json", "print one JSON object")
    .addHelpText("after", HELP)
    .action(async (method: string, url: string, options: Options, command: Command) => {
      const { loadValid } = await import("../load.ts");
      const { readAsked, walk } = await import("../explain.ts");
      const { describeWay, wayOf } = await import("../way.ts");
      const loaded = await loadValid(context, globalOptions(command));
      const { config } = loaded;
      const snapshot = loaded.snapshot(1);
      const asked = readAsked(token(method), url);
      if (asked === undefined) throw malformed(method, url);
      const known = await knownOf(context, { config, options, command });
      const { who, policy, standing } = known;
      if (!snapshot.policies.has(policy)) {
        throw new CliError(
          `there is no policy ${JSON.stringify(policy)}: the file names ${[...snapshot.policies.keys()].join(", ")}.`,
        );
      }
      const found = walk(snapshot, asked, {
        policy,
        at: Date.now(),
        addresses: addressesFor(config, asked, options),
        own: await ownAddresses(config),
        standing,
      });
      context.exitCode = found.verdict === "deny" || found.verdict === "ask" ? EXIT.denied : EXIT.ok;
      const text = urlOf(asked);
      const way = wayOf(config, asked.target);
      if (options.json === true)
        return printJson(context, {
          ...toJson(found, { method, url: text, policy }),
          ...(who && { identity: { sandbox: who.sandbox ?? null, because: who.because } }),
          ...(way && { way }),
        });
      say(context, found, `${method} ${text}  ${paint(context, "dim", `under policy ${policy}`)}`, who);
      if (way !== undefined && context.exitCode === EXIT.ok)
        print(context, `\n${"way".padEnd(14)}${describeWay(way)}`);
      advise(context, found, policy);
    });
}

type Known = {
  readonly who: Who | undefined;
  readonly policy: string;
  readonly standing: Standing | undefined;
};

/** By the file; a sandbox that it does not name, by the running proxy. */
async function knownOf(
  context: Context,
  { config, options, command }: { config: Config; options: Options; command: Command },
): Promise<Known> {
  const { sandbox, phase } = options;
  if (sandbox === undefined || config.sandboxes.some(({ id }) => id === sandbox)) {
    const { whoIs } = await import("../who.ts");
    const who = options.policy === undefined ? whoIs(config, options) : undefined;
    return { who, policy: policyFor(config, { ...options, sandbox: who?.sandbox }), standing: undefined };
  }
  const { apiClient } = await import("../api-client.ts");
  const { registered } = await import("../registered.ts");
  const because = "by its credentials, as the running proxy knows it";
  try {
    const known = await registered(await apiClient(context, command), sandbox, phase);
    return { ...known, who: { sandbox, because } };
  } catch (error) {
    if (!(error instanceof CliError) || error.exitCode === EXIT.denied) throw error;
    const names = config.sandboxes.map(({ id }) => id).join(", ");
    throw new CliError(
      `there is no sandbox ${JSON.stringify(sandbox)} in the file (it names ${names === "" ? "none" : names}), nor in a proxy that runs: ${error.message}`,
    );
  }
}

function say(context: Context, found: Walk, heading: string, who: Who | undefined): void {
  print(context, heading);
  if (who?.sandbox !== undefined)
    print(context, `\n${"identity".padEnd(14)}${who.sandbox}${paint(context, "dim", ` · ${who.because}`)}`);
  for (const judged of found.stages) {
    print(context, "");
    print(context, `${judged.stage.padEnd(14)}${label(context, judged)}`);
    for (const step of judged.explanation.steps) {
      const place = step.rule === undefined ? step.name : named(step.rule);
      print(context, `  ${MARKS[step.outcome]} ${place}${paint(context, "dim", ` · ${step.because}`)}`);
    }
  }
  if (found.skipped.length > 0) print(context, "");
  for (const { stage, because } of found.skipped)
    print(context, paint(context, "dim", `${stage.padEnd(14)}${because}`));
}

function advise(context: Context, { verdict, reason, flips, impossible }: Walk, policy: string): void {
  const [word, style] = VERDICTS[verdict];
  const why = reason === undefined ? "" : ` ${reason}: ${REASONS[reason].text}`;
  print(context, `\n${paint(context, style, word)}${why}`);
  if (impossible !== undefined) print(context, `Nothing to add would allow it: ${impossible}.`);
  if (verdict === "ask") print(context, "Somebody can approve it while it is asked.");
  if (flips.length === 0) return;
  print(context, `To allow it, add to policy ${policy}:`);
  for (const flip of flips) print(context, `  ${flip}`);
}

function label(context: Context, { verdict, explanation }: Judged): string {
  const [word, style] = VERDICTS[verdict];
  const decided = explanation.verdict;
  const how = "handling" in decided ? HOW[decided.handling] : "";
  return `${paint(context, style, word)}${how}`;
}

function toJson(found: Walk, about: { method: string; url: string; policy: string }) {
  const { verdict, reason, stages, skipped, flips, impossible } = found;
  return {
    ...about,
    verdict,
    reason: reason ?? null,
    stages: stages.map(({ stage, verdict, explanation }) => ({ stage, verdict, steps: explanation.steps })),
    skipped,
    flips,
    impossible: impossible ?? null,
  };
}

function policyFor(
  config: Config,
  { sandbox: id, phase, policy }: Pick<Options, "phase" | "policy"> & { sandbox: string | undefined },
): string {
  if (policy !== undefined) return policy;
  if (id === undefined) {
    if (phase !== undefined)
      throw new CliError("--phase says where in its life a sandbox is: add --sandbox ID.", EXIT.usage);
    if (config.anonymous !== undefined) return config.anonymous;
    throw new CliError(
      "credentials-missing: without credentials it is answered 407, since the file names no `anonymous` policy. Add --sandbox ID or --policy NAME.",
      EXIT.denied,
    );
  }
  const sandbox = config.sandboxes.find((one) => one.id === id);
  if (sandbox === undefined) throw new CliError(`there is no sandbox ${JSON.stringify(id)} in the file.`);
  return sandbox.policies[phase ?? sandbox.phase];
}

/** Those given; else the file's static answer; else the literal itself. Never DNS: asking tells others what is looked at. */
function addressesFor(config: Config, { target }: Asked, { address }: Options): readonly Address[] {
  if (address.length > 0) return address;
  const literal = isAddressLiteral(target.host) ? parseAddress(target.host) : undefined;
  return config.upstream.hosts.get(target.host) ?? (literal === undefined ? [] : [literal]);
}

async function ownAddresses({ listen, admin }: Config): Promise<AddressFacts["own"]> {
  const { createOwnAddresses } = await import("../../upstream/own-addresses.ts");
  const listeners = (admin === false ? listen : [...listen, admin]).flatMap(({ host, port }) =>
    (host === "localhost" ? ["127.0.0.1", "::1"] : [host]).map((address) => ({ address, port })),
  );
  return createOwnAddresses({ listeners })();
}

function urlOf({ target, request }: Asked): string {
  if (request === undefined) return formatAuthority(target);
  const { scheme, path, upgrade } = request;
  const shown = upgrade ? scheme.replace("http", "ws") : scheme;
  return `${shown}://${formatAuthority(target, scheme === "https" ? 443 : 80)}${path.sent}${path.query}`;
}

function named({ id, source, reason }: { id: string; source: string; reason?: string }): string {
  return `${id === source ? id : `${id} (${source})`}${reason === undefined ? "" : ` ${JSON.stringify(reason)}`}`;
}

function token(method: string): string {
  if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(method)) return method;
  throw new CliError(`${JSON.stringify(method)} is not a method: the proxy answers 400.`, EXIT.usage);
}

function malformed(method: string, url: string): CliError {
  const form =
    method === "CONNECT" ? "CONNECT takes host:port" : "a URL such as https://example.com/path is expected";
  return new CliError(
    `${JSON.stringify(url)} cannot be read: ${form}. From a sandbox the proxy answers 400.`,
    EXIT.usage,
  );
}

function anotherAddress(text: string, before: readonly Address[]): readonly Address[] {
  const address = parseAddress(text);
  if (address === undefined)
    throw new InvalidArgumentError("It is an IP address such as 192.0.2.1 or 2001:db8::1.");
  return [...before, address];
}

const VERDICTS = {
  allow: ["allowed", "green"],
  deny: ["denied", "red"],
  ask: ["asked about: denied until somebody approves it", "yellow"],
  report: ["allowed, since the policy only reports; else denied", "yellow"],
} as const satisfies Record<Walk["verdict"], readonly [string, Style]>;
const HOW = {
  intercept: "",
  splice: " (spliced: TLS is passed unread)",
  tcp: " (raw TCP: whatever it carries is passed unread)",
} as const;
const MARKS = { allow: "+", deny: "x", ask: "?", continue: "-" } as const;

const HELP = `
Examples:
  sallyport explain GET https://packages.npmjs.org/left-pad
  sallyport explain POST https://api.github.com/repos/acme/shop/pulls --sandbox ci-runner --phase agent
  sallyport explain GET https://git.corp.example/ --address 10.1.2.3
  sallyport explain GET https://git.corp.example/ --source 10.1.0.7
  sallyport explain CONNECT db.example:5432

Exit codes: 0 allowed · 3 denied · 1 the file is not valid · 2 wrong usage`;
