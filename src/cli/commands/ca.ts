// `sallyport ca`: shows, exports and rotates the trust anchor. The key is never printed or copied.

import { X509Certificate } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type Command, Option } from "commander";

import type { Config } from "../../config/types.ts";
import { type Context, globalOptions, note, paint, print, printJson } from "../context.ts";
import { CliError, EXIT } from "../errors.ts";

const EXPORTS = ["pem", "der", "bundle", "p12"] as const;
type ExportFormat = (typeof EXPORTS)[number];

export function addCa(program: Command, context: Context): void {
  const ca = program
    .command("ca")
    .summary("show, export or rotate the CA that sandboxes trust")
    .description("The CA that sandboxes trust. Its key stays where it is: no command prints it.")
    .helpCommand(false)
    .addHelpText("after", HELP);
  ca.command("show")
    .description("Print the CA's name, fingerprint and validity.")
    .option("--json", "print one JSON object")
    .action(async (options: { json?: boolean }, command: Command) => {
      const described = describe(await anchor(await configOf(context, command)));
      if (options.json === true) return printJson(context, described);
      for (const [name, value] of Object.entries(described))
        print(context, `${paint(context, "bold", name.padEnd(12))} ${value}`);
    });
  ca.command("export")
    .description("Print the CA's certificate: alone, or with the system's roots.")
    .addOption(
      new Option("--format <format>", "pem or der: alone; bundle (PEM) or p12: with the system's roots")
        .choices(EXPORTS)
        .default("pem"),
    )
    .option("--out <file>", "write it to a file (default: standard output)")
    .option("--password <password>", "of the p12", "changeit")
    .action(async (options: { format: ExportFormat; out?: string; password: string }, command: Command) => {
      const { pem } = await anchor(await configOf(context, command));
      const content = await exported(pem, options.format, options.password);
      if (options.out !== undefined)
        return writeFile(resolve(context.cwd, options.out), content, { mode: 0o644 });
      if (typeof content !== "string" && context.stdout.isTTY) {
        throw new CliError("this is binary: name a file with --out, or send it through a pipe.", EXIT.usage);
      }
      context.stdout.write(content);
    });
  ca.command("rotate")
    .description("Make a new CA and key; the old pair is kept beside it under a dated name.")
    .option("--yes", "do it: every sandbox must then be given the new certificate")
    .action(async (options: { yes?: boolean }, command: Command) =>
      rotate(context, await configOf(context, command), options.yes === true),
    );
}

async function rotate(context: Context, config: Config, yes: boolean): Promise<void> {
  if (config.ca !== undefined) {
    throw new CliError(
      `the CA is your own (${config.ca.cert}, named by \`ca\` in the file): replace its files, then restart the proxy.`,
    );
  }
  if (!yes) {
    throw new CliError(
      "sandboxes trust nothing that the new CA signs until they are given it. If that is meant, add --yes.",
      EXIT.usage,
    );
  }
  const { rotateAnchor } = await import("../anchor.ts");
  await rotateAnchor(config);
  const found = await anchor(config);
  print(context, `${found.path}\nSHA-256 ${describe(found).sha256}`);
  note(context, "restart the proxy, then run `sallyport env` again for every sandbox.");
}

async function configOf(context: Context, command: Command): Promise<Config> {
  const { loadValid } = await import("../load.ts");
  return (await loadValid(context, globalOptions(command))).config;
}

async function anchor(config: Config): Promise<{ path: string; pem: string }> {
  const { readAnchor } = await import("../anchor.ts");
  const found = await readAnchor(config);
  if (found !== undefined) return found;
  throw new CliError(
    `there is no CA in ${config.certs} yet: \`sallyport run\` and \`sallyport env\` make one.`,
  );
}

function describe({ path, pem }: { path: string; pem: string }) {
  const certificate = new X509Certificate(pem);
  return {
    path,
    subject: certificate.subject.replaceAll("\n", ", "),
    sha256: certificate.fingerprint256,
    serial: certificate.serialNumber,
    notBefore: certificate.validFromDate.toISOString(),
    notAfter: certificate.validToDate.toISOString(),
  };
}

async function exported(pem: string, format: ExportFormat, password: string): Promise<string | Uint8Array> {
  const { caBundle, pkcs12Truststore } = await import("../../tls/bundle.ts");
  switch (format) {
    case "pem":
      return pem;
    case "der":
      return new X509Certificate(pem).raw;
    case "bundle":
      return caBundle(pem, { system: true });
    case "p12":
      return pkcs12Truststore([caBundle(pem, { system: true })], password);
  }
}

const HELP = `
Examples:
  sallyport ca show
  sallyport ca export > sallyport-ca.pem
  sallyport ca export --format p12 --out truststore.p12
  sallyport ca rotate --yes`;
