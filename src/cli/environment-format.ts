// Writes a sandbox's environment in the form that a shell, a dotenv reader, a program or `docker run` takes. What a form
// cannot carry is refused, never bent.

import { CliError } from "./errors.ts";

export const FORMATS = ["shell", "dotenv", "json", "docker"] as const;
export type Format = (typeof FORMATS)[number];

export type DockerMount = {
  readonly source: string;
  readonly target: string;
  readonly addHost: string | undefined;
};

export function formatEnvironment(
  format: Exclude<Format, "docker">,
  variables: Readonly<Record<string, string>>,
): string {
  const entries = Object.entries(variables);
  switch (format) {
    case "shell":
      return entries.map(([name, value]) => `export ${name}=${shellQuoted(value)}\n`).join("");
    case "dotenv":
      return entries.map(([name, value]) => `${name}=${dotenvQuoted(name, value)}\n`).join("");
    case "json":
      return `${JSON.stringify(variables, undefined, 2)}\n`;
  }
}

/** Flags for `eval "docker run $(sallyport env --format docker) IMAGE"`: quoted for a shell, one a line. */
export function formatDocker(variables: Readonly<Record<string, string>>, mount: DockerMount): string {
  const flags = [
    // --mount and not -v: a source with a colon in it is possible here.
    `--mount ${shellQuoted(`type=bind,${csvField(`source=${mount.source}`)},${csvField(`target=${mount.target}`)},readonly`)}`,
    ...(mount.addHost === undefined ? [] : [`--add-host ${shellQuoted(mount.addHost)}`]),
    ...Object.entries(variables).map(([name, value]) => `-e ${shellQuoted(`${name}=${value}`)}`),
  ];
  return `${flags.join(" \\\n")}\n`;
}

export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Quoted only where it must be: `docker --env-file` takes quotes as part of the value, every other reader takes them off. */
function dotenvQuoted(name: string, value: string): string {
  if (/^[\w./:@%+,=-]*$/.test(value)) return value;
  if (!value.includes("'")) return `'${value}'`;
  if (!/["\\$`]/.test(value)) return `"${value}"`;
  if (!/[`\\$]/.test(value)) return `\`${value}\``;
  throw new CliError(
    `The value of ${name} has too many kinds of quotes for dotenv. Use --format shell or json, or another --out.`,
  );
}

function csvField(text: string): string {
  return text.includes(",") ? `"${text}"` : text;
}
