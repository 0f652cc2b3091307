// Whose a source address is: the sandboxes' networks, the longest prefix first. A network that two claim is nobody's, since either
// would be a choice.

import { type Network, parseNetwork, unmapped } from "../net/address.ts";

export class Sources {
  /** By octets of an address, then by length of prefix, the longest first; a network's octets to who claims it. */
  readonly #families: Readonly<Record<number, Map<number, Map<string, Set<string>>>>> = {
    4: new Map(),
    16: new Map(),
  };
  readonly #claims = new Map<string, readonly Network[]>();

  /** In place of what it claimed before. */
  set(id: string, networks: readonly string[]): void {
    for (const network of this.#claims.get(id) ?? []) this.#drop(id, network);
    this.#claims.delete(id);
    const parsed = networks.flatMap((text) => parseNetwork(text) ?? []);
    if (parsed.length === 0) return;
    this.#claims.set(id, parsed);
    for (const network of parsed) this.#keep(id, network);
  }

  /** Who claims the narrowest network that the address is in; more than one: several claim just that one. */
  find(address: string): ReadonlySet<string> {
    const parsed = parseNetwork(unmapped(address));
    if (this.#claims.size === 0 || parsed === undefined) return NOBODY;
    for (const [prefix, blocks] of this.#families[parsed.bytes.length] ?? []) {
      const ids = blocks.get(keyOf(parsed.bytes, prefix));
      if (ids !== undefined) return ids;
    }
    return NOBODY;
  }

  #keep(id: string, { bytes, prefix }: Network): void {
    const family = this.#families[bytes.length];
    if (family === undefined) return;
    let blocks = family.get(prefix);
    if (blocks === undefined) {
      const longestFirst = [...family, [prefix, new Map<string, Set<string>>()] as const].toSorted(
        ([a], [b]) => b - a,
      );
      family.clear();
      for (const [length, kept] of longestFirst) family.set(length, kept);
      blocks = family.get(prefix);
    }
    const key = keyOf(bytes, prefix);
    const ids = blocks?.get(key);
    if (ids === undefined) blocks?.set(key, new Set([id]));
    else ids.add(id);
  }

  #drop(id: string, { bytes, prefix }: Network): void {
    const family = this.#families[bytes.length];
    const blocks = family?.get(prefix);
    const key = keyOf(bytes, prefix);
    const ids = blocks?.get(key);
    ids?.delete(id);
    if (ids?.size === 0) blocks?.delete(key);
    if (blocks?.size === 0) family?.delete(prefix);
  }
}

function keyOf(bytes: Uint8Array, prefix: number): string {
  let key = "";
  for (let at = 0; at < bytes.length; at++) {
    const kept = Math.min(8, Math.max(0, prefix - at * 8));
    key += String.fromCharCode((bytes[at] ?? 0) & (0xff << (8 - kept)));
  }
  return key;
}

const NOBODY: ReadonlySet<string> = new Set();
