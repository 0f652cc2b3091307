// A systemd unit's walls without systemd: its directives for mounts, capabilities, system calls and sockets, put up by util-linux
// and libseccomp around its own command. Root is needed; nothing outside of the command's namespace changes.

import { execFileSync, type SpawnOptions, spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export type Unit = ReadonlyMap<string, readonly string[]>;

/** Every value of each key of [Service], in the order of writing. */
export function readUnit(file: string): Unit {
  const unit = new Map<string, string[]>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [, key = "", value = ""] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (key !== "") unit.set(key, [...(unit.get(key) ?? []), value]);
  }
  return unit;
}

export type Walled = {
  readonly unit: Unit;
  /** Seen as /opt/sallyport, read-only. */
  readonly root: string;
  /** A directory of the test's own: `state` in it is /var/lib/sallyport, `credentials` what systemd hands over. */
  readonly place: string;
  readonly command: readonly string[];
};

/** Like `spawn`. The command's first word is looked for where the package has its programs, too. */
export function spawnWalled({ unit, root, place, command }: Walled, options: SpawnOptions): ChildProcess {
  for (const name of ["state", "credentials"]) mkdirSync(join(place, name), { recursive: true });
  const families = (unit.get("RestrictAddressFamilies")?.[0] ?? "").split(" ").join(",");
  const script = readFileSync(join(import.meta.dirname, "unit.sh"), "utf8");
  const args = [root, place, String(DYNAMIC_USER), callsOf(unit).join(","), families, ...command];
  return spawn(
    "unshare",
    ["--mount", "--propagation", "private", "bash", "-c", script, "unit", ...args],
    options,
  );
}

/** What SystemCallFilter= leaves: an allowlist, less those behind a tilde. */
function callsOf(unit: Unit): string[] {
  const left = new Set<string>();
  for (const value of unit.get("SystemCallFilter") ?? []) {
    const change = value.startsWith("~") ? "delete" : "add";
    for (const set of value.replace(/^~/, "").split(" "))
      for (const call of membersOf(set)) left[change](call);
  }
  return [...left];
}

function membersOf(set: string): string[] {
  if (!set.startsWith("@")) return [set];
  const told = execFileSync("systemd-analyze", ["syscall-filter", set], { encoding: "utf8" });
  return [...told.matchAll(/^ {4}([@a-z0-9_-]+)$/gm)].flatMap(([, member = ""]) => membersOf(member));
}

/** Of the range that DynamicUser= takes its users from. */
const DYNAMIC_USER = 61184;
