// What the data path is told of each sandbox, made from the registry's documents: only of those that a change concerns.

import type { Orders, RosterItem, RosterUpdate } from "../identity/roster.ts";
import type { Change, Document } from "../store/types.ts";
import { bodyOf, type GrantBody } from "./documents.ts";
import { grantOf } from "./grants.ts";
import { EVERYONE } from "./lockdowns.ts";
import type { Replica } from "./replica.ts";
import { type Declared, declaredSandbox, phaseInForce } from "./declared.ts";

export type RosterOptions = {
  readonly replica: Replica;
  readonly declared: () => Declared;
  /** A grant with the end that it has now. */
  readonly lifeOf: (grant: Document) => GrantBody;
  readonly now: () => number;
};

export class RosterMaker {
  readonly #replica: Replica;
  readonly #declared: () => Declared;
  readonly #lifeOf: RosterOptions["lifeOf"];
  readonly #now: () => number;
  /** Ids of grants by sandbox; a removed document does not say whose it was. */
  readonly #grants = new Map<string, Set<string>>();
  readonly #grantedTo = new Map<string, string>();

  constructor({ replica, declared, lifeOf, now }: RosterOptions) {
    this.#replica = replica;
    this.#declared = declared;
    this.#lifeOf = lifeOf;
    this.#now = now;
    for (const grant of replica.all("grant")) this.#keep(grant);
  }

  whole(): RosterUpdate {
    const ids = new Set([
      ...[...this.#replica.all("sandbox")].map(({ id }) => id),
      ...[...this.#replica.all("lockdown")].map(({ id }) => id),
      ...this.#grants.keys(),
    ]);
    ids.delete(EVERYONE);
    return { items: [...ids].map((id) => [id, this.#item(id)] as const), everyone: this.#orders(EVERYONE) };
  }

  /** `undefined`: they concern nobody on the data path. */
  update(changes: readonly Change[]): RosterUpdate | undefined {
    const ids = new Set<string>();
    for (const change of changes) {
      if (change.kind === "sandbox" || change.kind === "lockdown") ids.add(change.id);
      if (change.kind !== "grant") continue;
      const before = this.#grantedTo.get(change.id);
      if (before !== undefined) ids.add(before);
      ids.add("removed" in change ? this.#drop(change.id) : this.#keep(change));
    }
    return this.#of(ids);
  }

  /** Nothing was written of them, but time has passed. */
  again(due: readonly Pick<Change, "kind" | "id">[]): RosterUpdate | undefined {
    return this.#of(
      new Set(due.flatMap(({ kind, id }) => (kind === "grant" ? (this.#grantedTo.get(id) ?? []) : id))),
    );
  }

  #of(ids: Set<string>): RosterUpdate | undefined {
    if (ids.size === 0) return undefined;
    const everyone = ids.delete(EVERYONE);
    return {
      items: [...ids].map((id) => [id, this.#item(id)] as const),
      ...(everyone && { everyone: this.#orders(EVERYONE) }),
    };
  }

  #item(id: string): RosterItem | undefined {
    const document = this.#replica.get("sandbox", id);
    const body = document && bodyOf("sandbox", document);
    const orders = this.#orders(id);
    const file = declaredSandbox(this.#declared(), id);
    if (file !== undefined) {
      const phase = phaseInForce(file, body);
      const told = phase !== file.phase || orders.lockdown !== undefined || orders.grants.length > 0;
      return told ? { ...orders, phase, registered: undefined } : undefined;
    }
    if (body === undefined || body.origin === "file" || body.state === "ended") return undefined;
    const { digest, policies, labels, sources, expires, agentAt } = body;
    const at = this.#now();
    // Time counts whether or not what it brings about is written yet: a lost store lengthens no life.
    if (expires !== undefined && expires <= at) return undefined;
    const phase = agentAt !== undefined && agentAt <= at ? "agent" : body.phase;
    return { ...orders, phase, registered: { digest, policies, labels, sources } };
  }

  #orders(id: string): Orders {
    const lockdown = this.#replica.get("lockdown", id);
    const at = this.#now();
    const grants = [...(this.#grants.get(id) ?? [])]
      .flatMap((one) => this.#replica.get("grant", one) ?? [])
      .map((grant) => grantOf(grant, this.#lifeOf(grant)))
      .filter(({ expires }) => expires > at);
    return { lockdown: lockdown && lockdownRule(lockdown), grants };
  }

  #keep(grant: Document): string {
    const { sandbox = EVERYONE } = bodyOf("grant", grant);
    const kept = this.#grants.get(sandbox) ?? new Set();
    this.#grants.set(sandbox, kept.add(grant.id));
    this.#grantedTo.set(grant.id, sandbox);
    return sandbox;
  }

  #drop(id: string): string {
    const sandbox = this.#grantedTo.get(id) ?? EVERYONE;
    this.#grantedTo.delete(id);
    const kept = this.#grants.get(sandbox);
    kept?.delete(id);
    if (kept?.size === 0) this.#grants.delete(sandbox);
    return sandbox;
  }
}

function lockdownRule(document: Document) {
  const { reason, orderedBy } = bodyOf("lockdown", document);
  return { id: "lockdown", source: `lockdown by ${orderedBy}`, reason };
}
