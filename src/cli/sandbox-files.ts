// Writes the files that a sandbox's environment names, for it to read.

import { chmodSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import {
  fileContents,
  FILE_NAMES,
  isCarried,
  type Material,
  sandboxFiles,
  type SandboxFiles,
} from "../environment/files.ts";
import { CliError, EXIT } from "./errors.ts";

/** Where the files are written, and where the sandbox sees that directory (another path where it is mounted). */
export type Place = { readonly directory: string; readonly seenAs: string };

export function writeSandboxFiles(place: Place, material: Material): SandboxFiles {
  for (const path of [place.directory, place.seenAs]) refuseUnwritable(path);
  writeFiles(place.directory, fileContents(place.seenAs, material));
  return sandboxFiles(place.seenAs, material.truststorePassword);
}

export function writeFiles(directory: string, files: ReturnType<typeof fileContents>): void {
  mkdirSync(directory, { recursive: true });
  // Whatever the umask: the sandbox often runs as somebody else (apt drops to a user of its own).
  chmodSync(directory, 0o755);
  for (const { name, content } of files) write(directory, name, content);
}

/** And nothing else that may be there. */
export function removeFiles(directory: string): void {
  for (const name of FILE_NAMES) rmSync(join(directory, name), { force: true });
}

/** Renamed into place, so that a running sandbox never reads half a bundle. */
function write(directory: string, name: string, content: string | Uint8Array): void {
  const path = join(directory, name);
  const fresh = `${path}.${process.pid}.new`;
  writeFileSync(fresh, content);
  chmodSync(fresh, 0o644);
  renameSync(fresh, path);
}

function refuseUnwritable(path: string): void {
  if (isCarried(path)) return;
  throw new CliError(
    `${JSON.stringify(path)} has a quotation mark or a control character in it, which apt.conf and wgetrc cannot carry. Choose another directory.`,
    EXIT.usage,
  );
}
