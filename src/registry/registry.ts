// The registry: everything that is said of sandboxes while the proxy runs, kept in the store, and brought to the data path as a
// roster. What it answers holds in every process of this proxy before the answer is given.

import type { RosterUpdate } from "../identity/roster.ts";
import type { Change, Kind, Store } from "../store/types.ts";
import type { Above } from "./above.ts";
import type { Noted } from "./action.ts";
import { Clock } from "./clock.ts";
import { Grants } from "./grants.ts";
import { Lockdowns } from "./lockdowns.ts";
import { Replica } from "./replica.ts";
import { RosterMaker } from "./roster.ts";
import type { Declared } from "./declared.ts";
import { Sandboxes } from "./sandboxes.ts";
import { Tokens } from "./tokens.ts";
import type { Actor, Control } from "./types.ts";

export type RegistryOptions = {
  readonly store: Store;
  readonly noted: Noted;
  /** What the operator's file says now. */
  readonly declared: () => Declared;
  readonly above: Above;
  /** Brings it to the data path; resolves once it holds in every process. */
  readonly publish: (update: RosterUpdate) => void | Promise<void>;
  /** Says whether it ever let anything pass. */
  readonly onGrantExpired: (grant: { readonly id: string; readonly used: boolean }) => void;
  readonly onFault: (error: unknown) => void;
  readonly now: () => number;
};

/** What others add: approvals have documents, budgets have counters, audit data has files. */
export type CoreControl = Omit<
  Control,
  "approvals" | "decideApproval" | "budgets" | "refusals" | "pruneAudit"
>;

export type Registry = {
  readonly control: CoreControl;
  readonly replica: Replica;
  /** All of the roster, for whoever begins now. */
  readonly roster: () => RosterUpdate;
  /** All of it under a new configuration, which may bring forward what time brings about. */
  readonly renewed: () => RosterUpdate;
  /** Resolves once what has changed up to now holds in every process. */
  readonly settled: () => Promise<void>;
  readonly close: () => void;
};

export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const { store, noted, declared, above, publish, onGrantExpired, onFault, now } = options;
  const replica = await Replica.open({ store, onFault });
  const sandboxes = new Sandboxes({ replica, noted, declared, above: above.registration, now });
  const tokens = new Tokens({ replica, noted, now });
  const isSandbox = (id: string): boolean => sandboxes.get(id)?.state === "active";
  const grants = new Grants({
    replica,
    noted,
    isSandbox,
    above,
    onExpired: onGrantExpired,
    now,
  });
  const lockdowns = new Lockdowns({ replica, noted, isSandbox, now });
  const roster = new RosterMaker({ replica, declared, lifeOf: grants.lifeOf, now });
  const watching = new Set<() => void>();

  let published: Promise<void> = Promise.resolve();
  const tell = (update: RosterUpdate | undefined): void => {
    if (update !== undefined) published = published.then(() => publish(update)).catch(onFault);
  };
  const clock = clockOf({
    sandboxes,
    grants,
    tell: (due) => tell(roster.again(due)),
    isStored: () => replica.healthy,
    onFault,
    now,
  });
  replica.listen((changes) => {
    tell(roster.update(changes));
    clock.take(changes);
    for (const changed of watching) changed();
  });
  clock.take(timed(replica));

  /** Answers once it holds. */
  const held = async <T>(work: Promise<T>): Promise<T> => {
    const answer = await work;
    await published;
    return answer;
  };
  const control = controlOf({ sandboxes, tokens, grants, lockdowns, replica, watching, held });
  return {
    control,
    replica,
    roster: () => roster.whole(),
    renewed() {
      clock.take(timed(replica));
      return roster.whole();
    },
    settled: () => published,
    close: () => {
      clock.close();
      replica.close();
    },
  };
}

/** `held`: answers once what was done holds everywhere. */
function controlOf(of: {
  readonly sandboxes: Sandboxes;
  readonly tokens: Tokens;
  readonly grants: Grants;
  readonly lockdowns: Lockdowns;
  readonly replica: Replica;
  readonly watching: Set<() => void>;
  readonly held: <T>(work: Promise<T>) => Promise<T>;
}): CoreControl {
  const { sandboxes, tokens, grants, lockdowns, replica, watching, held } = of;
  return {
    sandboxes: () => sandboxes.all(),
    sandbox: (id) => sandboxes.get(id),
    register: (actor, registration) => held(sandboxes.register(actor, registration)),
    update: (actor, id, changes) => held(sandboxes.update(actor, id, changes)),
    move: (actor, id, phase) => held(sandboxes.move(actor, id, phase)),
    end: (actor, id, because) => held(sandboxes.end(actor, id, because)),
    tokens: () => tokens.all(),
    createToken: (actor, token) => tokens.create(actor, token),
    revokeToken: (actor, id) => tokens.revoke(actor, id),
    authenticate: (secret) => tokens.authenticate(secret),
    grants: () => grants.all(),
    grant: (actor, grant) => held(grants.grant(actor, grant)),
    revokeGrant: (actor, id) => held(grants.revoke(actor, id)),
    lockdowns: () => lockdowns.all(),
    lockDown: (actor, sandbox, reason) => held(lockdowns.order(actor, sandbox, reason)),
    lift: (actor, sandbox, reason) => held(lockdowns.lift(actor, sandbox, reason)),
    watch: (changed) => {
      watching.add(changed);
      return () => void watching.delete(changed);
    },
    healthy: () => replica.healthy,
  };
}

function clockOf(of: {
  readonly sandboxes: Sandboxes;
  readonly grants: Grants;
  readonly tell: (due: readonly Pick<Change, "kind" | "id">[]) => void;
  readonly isStored: () => boolean;
  readonly onFault: (error: unknown) => void;
  readonly now: () => number;
}): Clock {
  const { sandboxes, grants, tell, isStored, onFault, now } = of;
  return new Clock({
    tell,
    nextOf(kind, id) {
      if (kind === "grant") return grants.expiresAt(id);
      if (kind !== "sandbox") return undefined;
      const { due, next } = sandboxes.dueOf(id, now());
      return due === undefined ? next : now();
    },
    async attend(kind, id) {
      // Tried again once there is a store; until then each try would only fill the records.
      if (!isStored()) return;
      if (kind === "grant") return grants.expire(TIME, id);
      const { due } = sandboxes.dueOf(id, now());
      if (due === "end") await sandboxes.end(TIME, id, "its time to live is over");
      else if (due === "agent") await sandboxes.move(TIME, id, "agent");
      else if (due === "forget") await sandboxes.forget(id);
    },
    onFault,
    now,
  });
}

function timed(replica: Replica): Pick<Change, "kind" | "id">[] {
  return (["sandbox", "grant"] satisfies Kind[]).flatMap((kind) => [...replica.all(kind)]);
}

/** Nobody did it: it was time. */
const TIME: Actor = { name: "sallyport", role: "system", from: "local" };
