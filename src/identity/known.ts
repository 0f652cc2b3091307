// Who there is: the sandboxes of the operator's file and those on the roster, each found by any of the means by which it is known.
// Finding one takes as long as finding none.

import { createHmac, createSecretKey, hash, randomBytes, timingSafeEqual } from "node:crypto";
import { compileGrants } from "../policy/compile.ts";
import type { Grant, Grants, Standing } from "../policy/types.ts";
import type { Credentials, IdentifierOptions, Sandbox, SandboxEntry } from "./identify.ts";
import type { Orders, Roster, RosterItem } from "./roster.ts";
import { Sources } from "./sources.ts";

type Found = { readonly secret: Buffer; readonly hashed: boolean; readonly id: string; sandbox: Sandbox };

export class Known {
  // A KeyObject: a digest takes a quarter of the time that it takes with the key as octets.
  readonly #key = createSecretKey(randomBytes(32));
  readonly #nobody = { secret: randomBytes(32), hashed: false, sandbox: undefined };
  /** Keyed by digest, so that the time of the look-up tells nothing of the ids either. */
  readonly #known = new Map<string, Found>();
  readonly #certified = new Map<string, string>();
  readonly #declared: ReadonlyMap<string, SandboxEntry>;
  readonly #roster: Roster | undefined;
  readonly #anonymous: string | undefined;
  /** The file's networks stand above those that are registered. */
  readonly #sources = { declared: new Sources(), registered: new Sources() };
  #nameless: Sandbox | undefined;

  constructor({ sandboxes, anonymous, roster }: IdentifierOptions) {
    this.#declared = declaredIn(sandboxes);
    this.#roster = roster;
    this.#anonymous = anonymous;
    this.#nameless = this.#makeNameless();
    for (const { id, certificate, sources = [] } of sandboxes) {
      this.#settle(id);
      if (certificate !== undefined) this.#certified.set(certificate, id);
      this.#sources.declared.set(id, sources);
    }
    for (const id of roster?.items.keys() ?? []) this.#settle(id);
  }

  /** Whoever has no credentials; `undefined`: refused. */
  get nameless(): Sandbox | undefined {
    return this.#nameless;
  }

  byId(id: string): Sandbox | undefined {
    return this.#known.get(this.#nameOf(id))?.sandbox;
  }

  byCredentials({ id, secret: given }: Credentials): Sandbox | undefined {
    const { secret, hashed, sandbox } = this.#known.get(this.#nameOf(id)) ?? this.#nobody;
    // Both, whichever it is: time tells no one how a secret is kept.
    const forms = [this.#digest(given), this.#digest(hash("sha256", given, "base64url"))] as const;
    return timingSafeEqual(forms[hashed ? 1 : 0], secret) ? sandbox : undefined;
  }

  /** The one sandbox that it names; two would be a choice. */
  byCertificate(names: readonly string[]): Sandbox | undefined {
    const named = new Set(names.map((name) => this.#certified.get(name)).filter((one) => one !== undefined));
    const [id] = named;
    return named.size === 1 && id !== undefined ? this.byId(id) : undefined;
  }

  /** `null`: several claim it, or one that is not there; `undefined`: nobody does. */
  bySource(address: string): Sandbox | null | undefined {
    const { declared, registered } = this.#sources;
    const first = declared.find(address);
    const [id, other] = first.size > 0 ? first : registered.find(address);
    if (id === undefined) return undefined;
    return other === undefined ? (this.byId(id) ?? null) : null;
  }

  changed(ids: readonly string[] | undefined): void {
    for (const id of ids ?? []) this.#settle(id);
    if (ids !== undefined) return;
    this.#nameless = this.#makeNameless();
    // Who is who stays: only what holds for each is put together anew.
    for (const one of this.#known.values()) one.sandbox = this.#sandboxWith(one.id) ?? one.sandbox;
  }

  #settle(id: string): void {
    const entry = this.#declared.get(id);
    const { registered } = this.#roster?.items.get(id) ?? {};
    const sandbox = this.#sandboxWith(id);
    this.#sources.registered.set(id, entry === undefined ? (registered?.sources ?? []) : []);
    if (sandbox === undefined) return void this.#known.delete(this.#nameOf(id));
    const hashed = entry === undefined && registered !== undefined;
    const secret = hashed ? registered.digest : (entry?.secret?.reveal() ?? randomBytes(32));
    this.#known.set(this.#nameOf(id), { secret: this.#digest(secret), hashed, id, sandbox });
  }

  #sandboxWith(id: string): Sandbox | undefined {
    const everyone = this.#roster?.everyone;
    return sandboxOf({ id, entry: this.#declared.get(id), item: this.#roster?.items.get(id), everyone });
  }

  #makeNameless(): Sandbox | undefined {
    if (this.#anonymous === undefined) return undefined;
    const standing = standingOf(undefined, this.#roster?.everyone);
    return { id: undefined, phase: "agent", policy: this.#anonymous, ...standing };
  }

  #nameOf(id: string | Buffer): string {
    return this.#digest(id).toString("latin1");
  }

  #digest(octets: string | Buffer): Buffer {
    return createHmac("sha256", this.#key).update(octets).digest();
  }
}

function declaredIn(sandboxes: readonly SandboxEntry[]): ReadonlyMap<string, SandboxEntry> {
  const declared = new Map<string, SandboxEntry>();
  for (const entry of sandboxes) {
    if (declared.has(entry.id)) throw new Error(`two sandboxes have the id ${JSON.stringify(entry.id)}`);
    declared.set(entry.id, entry);
  }
  return declared;
}

/** The file's word on who it is stands above what is registered under the same id. */
function sandboxOf(of: {
  readonly id: string;
  readonly entry: SandboxEntry | undefined;
  readonly item: RosterItem | undefined;
  readonly everyone: Orders | undefined;
}): Sandbox | undefined {
  const { id, entry, item, everyone } = of;
  const { policies } = entry ?? item?.registered ?? {};
  const moved = entry === undefined || item?.registered === undefined ? item?.phase : undefined;
  const phase = moved ?? entry?.phase;
  if (policies === undefined || phase === undefined) return undefined;
  const labels = entry === undefined ? item?.registered?.labels : undefined;
  return { id, phase, policy: policies[phase], labels, ...standingOf(item, everyone) };
}

function standingOf(own: Orders | undefined, everyone: Orders | undefined): { standing?: Standing } {
  const lockdown = everyone?.lockdown ?? own?.lockdown;
  const grants = grantsOf(own, everyone);
  return lockdown === undefined && grants === undefined ? {} : { standing: { lockdown, grants } };
}

/** Those that hold for everybody are compiled once for all that have none of their own. */
function grantsOf(own: Orders | undefined, everyone: Orders | undefined): Grants | undefined {
  const all = everyone?.grants ?? [];
  if (own !== undefined && own.grants.length > 0) return compileGrants([...own.grants, ...all]);
  if (all.length === 0) return undefined;
  let compiled = compiledFor.get(all);
  if (compiled === undefined) {
    compiled = compileGrants(all);
    compiledFor.set(all, compiled);
  }
  return compiled;
}

const compiledFor = new WeakMap<readonly Grant[], Grants>();
