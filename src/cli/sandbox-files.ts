// The files that a sandbox's environment names, written for it to read: certificates and client settings, all public. The
// trust anchor's key never comes here.

import { chmodSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { SandboxFiles } from "./environment.ts";
import { CliError, EXIT } from "./errors.ts";

export type Material = {
  readonly caPem: string;
  readonly bundlePem: string;
  readonly truststore: Uint8Array;
  readonly truststorePassword: string;
};

/** Where the files are written, and where the sandbox sees that directory (another path where it is mounted). */
export type Place = { readonly directory: string; readonly seenAs: string };

export function writeSandboxFiles(place: Place, material: Material): SandboxFiles {
  for (const path of [place.directory, place.seenAs]) refuseUnwritable(path);
  const files = sandboxFiles(place.seenAs, material.truststorePassword);
  mkdirSync(place.directory, { recursive: true });
  // Whatever the umask: the sandbox often runs as somebody else (apt drops to a user of its own).
  chmodSync(place.directory, 0o755);
  write(place, NAMES.ca, material.caPem);
  write(place, NAMES.bundle, material.bundlePem);
  write(place, NAMES.truststore, material.truststore);
  write(place, NAMES.aptConf, `Acquire::https::CAInfo "${files.bundle}";\n`);
  write(place, NAMES.wgetrc, `ca_certificate = ${files.bundle}\n`);
  return files;
}

export function sandboxFiles(seenAs: string, truststorePassword: string): SandboxFiles {
  return {
    ca: join(seenAs, NAMES.ca),
    bundle: join(seenAs, NAMES.bundle),
    truststore: join(seenAs, NAMES.truststore),
    truststorePassword,
    aptConf: join(seenAs, NAMES.aptConf),
    wgetrc: join(seenAs, NAMES.wgetrc),
  };
}

/** Renamed into place, so that a running sandbox never reads half a bundle. */
function write(place: Place, name: string, content: string | Uint8Array): void {
  const path = join(place.directory, name);
  const fresh = `${path}.${process.pid}.new`;
  writeFileSync(fresh, content);
  chmodSync(fresh, 0o644);
  renameSync(fresh, path);
}

function refuseUnwritable(path: string): void {
  if (!/["\p{Cc}]/u.test(path)) return;
  throw new CliError(
    `${JSON.stringify(path)} has a quotation mark or a control character in it, which apt.conf and wgetrc cannot carry. Choose another directory.`,
    EXIT.usage,
  );
}

const NAMES = {
  ca: "ca.pem",
  bundle: "bundle.pem",
  truststore: "truststore.p12",
  aptConf: "apt.conf",
  wgetrc: "wgetrc",
} as const;
