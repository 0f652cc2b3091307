// Where this proxy can be reached on its own machine, for the address guard (invariant 8). A wildcard bind stands for
// every address of every interface.

import { networkInterfaces } from "node:os";

import { parseAddress } from "../net/address.ts";
import type { Address } from "../net/address.ts";

export type Listener = { readonly address: string; readonly port: number };
export type OwnAddress = { readonly address: Address; readonly port: number };

export type OwnAddressesOptions = {
  readonly listeners: readonly Listener[];
  /** Milliseconds, monotonic; interfaces are read again at most every few seconds of it. */
  readonly clock?: () => number;
  readonly interfaces?: () => readonly string[];
};

/** A function that tells the addresses as they are now. */
export function createOwnAddresses({
  listeners,
  clock = () => performance.now(),
  interfaces = interfaceAddresses,
}: OwnAddressesOptions): () => readonly OwnAddress[] {
  let readAt = -Infinity;
  let own: readonly OwnAddress[] = [];
  return () => {
    if (clock() - readAt < REFRESH_MS) return own;
    readAt = clock();
    const machine = interfaces();
    own = listeners.flatMap(({ address, port }) =>
      reachedBy(address, machine).map((one) => ({ address: one, port })),
    );
    return own;
  };
}

function reachedBy(listener: string, machine: readonly string[]): Address[] {
  const four = machine.filter((address) => !address.includes(":"));
  switch (listener) {
    case "0.0.0.0":
      return canonical(["0.0.0.0", ...four, ...four.map(mapped)]);
    // Dual-stack, as Node binds it: IPv4 arrives too.
    case "::":
      return canonical(["::", "0.0.0.0", ...machine, ...four.map(mapped)]);
    default:
      // Connecting to the unspecified address reaches loopback.
      return canonical([listener, ...(listener.includes(":") ? ["::"] : ["0.0.0.0", mapped(listener)])]);
  }
}

const mapped = (address: string): string => `::ffff:${address}`;

function canonical(texts: readonly string[]): Address[] {
  return texts.map(parseAddress).filter((address) => address !== undefined);
}

function interfaceAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
}

const REFRESH_MS = 5_000;
