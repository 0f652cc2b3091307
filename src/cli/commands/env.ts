// `sallyport env`: writes the files that a sandbox trusts and prints the variables that send its programs through the proxy.

import { dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";

import type { Config } from "../../config/types.ts";
import { type Context, globalOptions, note, print } from "../context.ts";
import { formatDocker, formatEnvironment, type Format, FORMATS } from "../environment-format.ts";
import { proxyUrlOf, proxyUrlWith, sandboxEnvironment } from "../../environment/variables.ts";
import { CliError, EXIT } from "../errors.ts";
import { material } from "../material.ts";
import { type Place, removeFiles, writeSandboxFiles } from "../sandbox-files.ts";

type Options = {
  readonly format: Format;
  readonly proxy?: string;
  readonly sandbox?: string;
  readonly out?: string;
  readonly mountPoint?: string;
  readonly hold?: boolean;
};

export function addEnv(program: Command, context: Context): void {
  program
    .command("env")
    .summary("print the environment that makes a shell or a container a sandbox")
    .description(
      "Writes what a sandbox must trust (ca.pem, bundle.pem with the system's roots as well, truststore.p12, apt.conf, wgetrc) " +
        "and prints the variables that send its programs through the proxy. Makes the CA if there is none yet.",
    )
    .addOption(new Option("--format <format>", "form of the output").choices(FORMATS).default("shell"))
    .option("--proxy <url>", "the proxy as the sandbox reaches it (default: the first address in listen)")
    .option("--sandbox <id>", "put this sandbox's credentials into the proxy URL")
    .option("--out <dir>", "where to write the files (default: sandbox, beside the directory certs)")
    .option(
      "--mount-point <dir>",
      "where the sandbox sees that directory (default for docker: /etc/sallyport)",
    )
    .option("--hold", "stay until a signal ends it, and take the files away then")
    .addHelpText("after", HELP)
    .action(async (options: Options, command: Command) => {
      const { loadValid } = await import("../load.ts");
      const { config } = await loadValid(context, globalOptions(command));
      const proxyUrl = proxyFor(context, config, options);
      const place = placeFor(context, config, options);
      const end = options.hold === true ? signalled() : undefined;
      const files = writeSandboxFiles(place, await material(config));
      const variables = sandboxEnvironment({ proxyUrl, files });
      const addHost = new URL(proxyUrl).hostname === DOCKER_HOST ? `${DOCKER_HOST}:host-gateway` : undefined;
      const mount = { source: place.directory, target: place.seenAs, addHost };
      const { format } = options;
      print(
        context,
        format === "docker" ? formatDocker(variables, mount) : formatEnvironment(format, variables),
      );
      if (end === undefined) return;
      await end;
      removeFiles(place.directory);
    });
}

function signalled(): Promise<void> {
  // Signals alone keep no process alive.
  const alive = setInterval(() => {}, 1 << 30);
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const)
      process.once(signal, () => {
        clearInterval(alive);
        resolve();
      });
  });
}

function placeFor(context: Context, config: Config, options: Options): Place {
  const seenAs = options.mountPoint ?? (options.format === "docker" ? "/etc/sallyport" : undefined);
  if (seenAs !== undefined && !seenAs.startsWith("/")) {
    throw new CliError(`--mount-point is a path inside the sandbox and starts with /: ${seenAs}`, EXIT.usage);
  }
  // Not inside certs, which nobody else may enter; and not one place for both, since apt.conf and wgetrc name paths.
  const beside = join(dirname(config.certs), seenAs === undefined ? "sandbox" : "sandbox-mount");
  const directory = options.out === undefined ? beside : resolve(context.cwd, options.out);
  return { directory, seenAs: seenAs ?? directory };
}

function proxyFor(context: Context, config: Config, options: Options): string {
  const url =
    options.proxy === undefined ? defaultProxy(context, config, options) : givenProxy(options.proxy);
  if (options.sandbox === undefined) {
    if (config.anonymous === undefined && !url.includes("@")) {
      note(
        context,
        "connections without credentials are answered 407 (no `anonymous` in the file): add --sandbox ID.",
      );
    }
    return url;
  }
  const sandbox = config.sandboxes.find(({ id }) => id === options.sandbox);
  if (sandbox === undefined) {
    const known = config.sandboxes.map(({ id }) => id);
    const hint = known.length === 0 ? "the file names none" : `the file names ${known.join(", ")}`;
    throw new CliError(`there is no sandbox ${JSON.stringify(options.sandbox)}: ${hint}.`);
  }
  if (sandbox.secret === undefined) {
    const instead = sandbox.certificate === undefined ? "where it comes from" : "its client certificate";
    note(context, `sandbox ${sandbox.id} has no secret: it is known by ${instead}.`);
    return url;
  }
  return proxyUrlWith(url, { id: sandbox.id, secret: sandbox.secret.reveal() });
}

function givenProxy(text: string): string {
  const url = URL.parse(text);
  if (
    (url?.protocol !== "http:" && url?.protocol !== "https:") ||
    url.hostname === "" ||
    url.pathname !== "/" ||
    url.search !== "" ||
    url.hash !== ""
  ) {
    throw new CliError(
      `--proxy is a URL such as http://sallyport.internal:3128, and not ${JSON.stringify(text)}.`,
      EXIT.usage,
    );
  }
  return url.href.replace(/\/$/, "");
}

function defaultProxy(context: Context, config: Config, options: Options): string {
  const { format } = options;
  const own = config.listen.find(({ sandbox }) => sandbox !== undefined && sandbox === options.sandbox);
  const listen = own ?? config.listen.find(({ sandbox }) => sandbox === undefined);
  if (listen === undefined || listen.port === 0) {
    throw new CliError(
      "no address in `listen` is this sandbox's to connect to, or its port is chosen when the proxy starts: say it with --proxy http://HOST:PORT.",
      EXIT.usage,
    );
  }
  const { host, port } = listen;
  if (format === "docker") {
    if (host === "localhost" || host === "::1" || host.startsWith("127.")) {
      note(
        context,
        `containers cannot reach ${host}: let \`listen\` name an address that they reach, or say --proxy.`,
      );
    }
    return `http://${DOCKER_HOST}:${port}`;
  }
  return proxyUrlOf({ host, port });
}

const DOCKER_HOST = "host.docker.internal";

const HELP = `
Formats:
  shell     export lines, quoted for any POSIX shell
  dotenv    NAME=value, for dotenv readers (and docker --env-file where no value has quotes)
  json      one object
  docker    flags for docker run, quoted for a shell, with the mount

Examples:
  eval "$(sallyport env)"
  sallyport env --sandbox ci-runner --format dotenv > .env
  eval "docker run --rm $(sallyport env --format docker --proxy http://10.0.0.2:3128) debian apt-get update"

Every variable and who reads it: docs/environment.md`;
