// A registry over a store in memory, with a clock and a record of its actions that the test holds.

import type { RosterUpdate } from "../../src/identity/roster.ts";
import { Roster } from "../../src/identity/roster.ts";
import type { Above } from "../../src/registry/above.ts";
import { openRegistry, type Registry, type RegistryOptions } from "../../src/registry/registry.ts";
import type { Actor } from "../../src/registry/types.ts";
import { openSqlite } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/types.ts";

export const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:5" };
export const RUNTIME: Actor = { name: "token:runner", role: "runtime", from: "127.0.0.1:6" };
export const OTHER_RUNTIME: Actor = { name: "token:other", role: "runtime", from: "127.0.0.1:7" };

/** Nothing is required. */
export const NOTHING_ABOVE: Above = {
  registration: () => undefined,
  grant: () => undefined,
  approval: () => undefined,
  longestMs: () => undefined,
};

export type Bench = AsyncDisposable &
  Omit<Registry, "roster"> & {
    readonly store: Store;
    readonly noted: Readonly<Record<string, unknown>>[];
    readonly roster: Roster;
    readonly updates: RosterUpdate[];
  };

export async function benchOf(options: Partial<RegistryOptions> = {}): Promise<Bench> {
  const store = options.store ?? openSqlite(":memory:");
  const noted: Readonly<Record<string, unknown>>[] = [];
  const roster = new Roster();
  const updates: RosterUpdate[] = [];
  const registry = await openRegistry({
    store,
    noted: async (fields) => void noted.push(fields),
    declared: () => ({
      sandboxes: [{ id: "filed", policies: { setup: "wide", agent: "narrow" }, phase: "setup" }],
      policies: ["wide", "narrow"],
    }),
    above: NOTHING_ABOVE,
    publish: (update) => {
      updates.push(update);
      roster.take(update);
    },
    onGrantExpired: () => {},
    onFault: (error) => {
      throw error;
    },
    now: Date.now,
    ...options,
  });
  return {
    ...registry,
    store,
    noted,
    roster,
    updates,
    async [Symbol.asyncDispose]() {
      registry.close();
      await store.close();
    },
  };
}

export const REGISTRATION = {
  policies: { setup: "wide", agent: "narrow" },
  phase: "setup",
  labels: { task: "42" },
} as const;
