// What the data path is told of each sandbox, made from the registry's documents: only of those that a change concerns.

import type { Orders, RosterItem, RosterUpdate } from "../identity/roster.ts";
import type { Change, Document } from "../store/types.ts";
import { bodyOf } from "./documents.ts";
import { grantOf } from "./grants.ts";
import { EVERYONE } from "./lockdowns.ts";
import type { Replica } from "./replica.ts";
import { type Declared, phaseInForce } from "./declared.ts";

export class RosterMaker {
  readonly #replica: Replica;
  readonly #declared: () => Declared;
  /** Ids of grants by sandbox; a removed document does not say whose it was. */
  readonly #grants = new Map<string, Set<string>>();
  readonly #grantedTo = new Map<string, string>();

  constructor(replica: Replica, declared: () => Declared) {
    this.#replica = replica;
    this.#declared = declared;
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
    const file = this.#declared().sandboxes.find((one) => one.id === id);
    if (file !== undefined) {
      const phase = phaseInForce(file, body);
      const told = phase !== file.phase || orders.lockdown !== undefined || orders.grants.length > 0;
      return told ? { ...orders, phase, registered: undefined } : undefined;
    }
    if (body === undefined || body.origin === "file" || body.state === "ended") return undefined;
    const { digest, policies, labels, sources, phase } = body;
    return { ...orders, phase, registered: { digest, policies, labels, sources } };
  }

  #orders(id: string): Orders {
    const lockdown = this.#replica.get("lockdown", id);
    const grants = [...(this.#grants.get(id) ?? [])].flatMap((one) => this.#replica.get("grant", one) ?? []);
    return { lockdown: lockdown && lockdownRule(lockdown), grants: grants.map(grantOf) };
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
