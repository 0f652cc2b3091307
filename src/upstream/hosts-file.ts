// The machine's own hosts file, read again when it changes. Names it holds are answered from it and never asked of DNS.

import { readFileSync, statSync } from "node:fs";

import { parseAddress } from "../net/address.ts";
import type { Address } from "../net/address.ts";
import { parseHost } from "../net/host.ts";
import type { Host } from "../net/host.ts";

export type HostsFile = (host: Host) => readonly Address[] | undefined;

/** A missing, unreadable or over-long file answers nothing. It is looked at no more than every few seconds. */
export function createHostsFile(path: string, clock: () => number = () => performance.now()): HostsFile {
  let lookedAt = -Infinity;
  let stamp = "";
  let names: ReadonlyMap<Host, readonly Address[]> = new Map();
  return (host) => {
    if (clock() - lookedAt >= LOOK_MS) {
      lookedAt = clock();
      const now = stampOf(path);
      if (now !== stamp) names = read(path, now);
      stamp = now;
    }
    return names.get(host);
  };
}

export function parseHosts(text: string): ReadonlyMap<Host, readonly Address[]> {
  const names = new Map<Host, Address[]>();
  for (const line of text.split("\n")) {
    const [first = "", ...rest] = line.replace(/#.*/, "").trim().split(/\s+/);
    const address = parseAddress(first);
    if (address === undefined) continue;
    for (const name of rest) {
      const host = parseHost(name.toLowerCase());
      if (host === undefined) continue;
      const addresses = names.get(host) ?? [];
      if (!addresses.includes(address)) names.set(host, [...addresses, address]);
    }
  }
  return names;
}

function read(path: string, stamp: string): ReadonlyMap<Host, readonly Address[]> {
  try {
    return parseHosts(stamp === "" ? "" : readFileSync(path, "utf8"));
  } catch {
    return new Map();
  }
}

/** Empty where there is nothing to read. */
function stampOf(path: string): string {
  try {
    const { mtimeMs, ino, size } = statSync(path);
    return size > MAX_OCTETS ? "" : `${mtimeMs} ${ino} ${size}`;
  } catch {
    return "";
  }
}

const LOOK_MS = 5_000;
const MAX_OCTETS = 1024 * 1024;
