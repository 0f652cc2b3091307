// Host patterns to buckets: a trie of labels for names, hashes by prefix length for addresses.
// What a look-up costs depends on the host's labels, never on how many patterns there are.

import { parseNetwork, type Network } from "../net/address.ts";
import { isAddressLiteral, type Host } from "../net/host.ts";
import type { HostPattern } from "./pattern.ts";

export class HostIndex<Bucket> {
  readonly #root: Node<Bucket> = node();
  readonly #networks: Record<4 | 16, Blocks<Bucket>> = { 4: new Map(), 16: new Map() };
  readonly #empty: () => Bucket;
  /** What was found, by host: a sandbox asks for the same few again and again. */
  readonly #known = new Map<Host, readonly Bucket[]>();

  constructor(empty: () => Bucket) {
    this.#empty = empty;
  }

  /** The buckets that `pattern` fills, made where they are new. */
  at(pattern: HostPattern): readonly Bucket[] {
    this.#known.clear();
    switch (pattern.kind) {
      case "name":
        return [(this.#node(pattern.host).self ??= this.#empty())];
      case "below": {
        const parent = this.#node(pattern.parent);
        const below = (parent.below ??= this.#empty());
        return pattern.self ? [(parent.self ??= this.#empty()), below] : [below];
      }
      case "label":
        return [this.#fragment(pattern)];
      case "network":
        return [this.#block(pattern.network)];
    }
  }

  /** The bucket that every DNS name reaches, and no address. */
  every(): Bucket {
    this.#known.clear();
    return (this.#root.below ??= this.#empty());
  }

  /** Buckets of every pattern that matches, outermost first. Only networks match an address literal. */
  find(host: Host): readonly Bucket[] {
    const known = this.#known.get(host);
    if (known !== undefined) return known;
    const found: Bucket[] = [];
    if (isAddressLiteral(host)) this.#findBlocks(host, found);
    else this.#findNames(host, found);
    if (this.#known.size >= KNOWN_MAX) this.#known.clear();
    this.#known.set(host, found);
    return found;
  }

  #findNames(host: string, found: Bucket[]): void {
    let at = this.#root;
    let end = host.length;
    for (;;) {
      if (at.below !== undefined) found.push(at.below);
      const dot = host.lastIndexOf(".", end - 1);
      const label = host.slice(dot + 1, end);
      if (dot < 0 && at.fragments !== undefined) findFragments(at.fragments, label, found);
      const next = at.children.get(label);
      if (next === undefined) return;
      if (dot < 0) {
        if (next.self !== undefined) found.push(next.self);
        return;
      }
      at = next;
      end = dot;
    }
  }

  #findBlocks(host: string, found: Bucket[]): void {
    const networks = this.#networks[host.includes(":") ? 16 : 4];
    if (networks.size === 0) return;
    const { bytes } = parseNetwork(host)!;
    for (const [prefix, blocks] of networks) {
      const bucket = blocks.get(blockKey(bytes, prefix));
      if (bucket !== undefined) found.push(bucket);
    }
  }

  #node(host: Host): Node<Bucket> {
    return host.split(".").reduceRight((at, label) => child(at.children, label, node<Bucket>), this.#root);
  }

  #fragment({ parent, prefix, suffix }: HostPattern & { readonly kind: "label" }): Bucket {
    const fragments = (this.#node(parent).fragments ??= byLength());
    const suffixes = child(table(fragments, prefix), prefix, byLength<Bucket>);
    return child(table(suffixes, suffix), suffix, this.#empty);
  }

  #block({ bytes, prefix }: Network): Bucket {
    const blocks = child(this.#networks[bytes.length as 4 | 16], prefix, () => new Map<string, Bucket>());
    return child(blocks, blockKey(bytes, prefix), this.#empty);
  }
}

type Node<Bucket> = {
  readonly children: Map<string, Node<Bucket>>;
  self: Bucket | undefined;
  below: Bucket | undefined;
  /** Wildcards inside a label: by prefix, then by suffix. */
  fragments: ByLength<ByLength<Bucket>> | undefined;
};

/** Tables by the length of their keys: a label has at most 63 prefixes to look up, however many patterns there are. */
type ByLength<T> = Map<number, Map<string, T>>;

type Blocks<Bucket> = Map<number, Map<string, Bucket>>;

function findFragments<Bucket>(fragments: ByLength<ByLength<Bucket>>, label: string, found: Bucket[]): void {
  for (const [head, prefixes] of fragments) {
    const suffixes = head <= label.length ? prefixes.get(label.slice(0, head)) : undefined;
    if (suffixes === undefined) continue;
    for (const [tail, buckets] of suffixes) {
      if (head + tail > label.length) continue;
      const bucket = buckets.get(label.slice(label.length - tail));
      if (bucket !== undefined) found.push(bucket);
    }
  }
}

function node<Bucket>(): Node<Bucket> {
  return { children: new Map(), self: undefined, below: undefined, fragments: undefined };
}

function byLength<T>(): ByLength<T> {
  return new Map();
}

function table<T>(tables: ByLength<T>, key: string): Map<string, T> {
  return child(tables, key.length, () => new Map<string, T>());
}

function child<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

/** The first `prefix` bits, as a string of octets. */
function blockKey(bytes: Uint8Array, prefix: number): string {
  let key = "";
  for (let at = 0; at < bytes.length; at++) {
    const kept = Math.min(8, Math.max(0, prefix - at * 8));
    key += String.fromCharCode(bytes[at]! & (0xff << (8 - kept)));
  }
  return key;
}

const KNOWN_MAX = 256;
