// Says which sandbox a request is from, by its Proxy-Authorization field (RFC 7617) or its client certificate, and which
// policy holds for it.
// Never says yes to anything but an exact match, and takes as long over an unknown id as over a wrong secret.

import { createHmac, createSecretKey, hash, randomBytes, timingSafeEqual } from "node:crypto";
import { all, type HeaderPairs } from "../net/headers.ts";
import { compileGrants } from "../policy/compile.ts";
import type { Phase, Standing } from "../policy/types.ts";
import type { Orders, Roster, RosterItem } from "./roster.ts";

export type SandboxEntry = {
  readonly id: string;
  /** Absent: it is known by its certificate alone. */
  readonly secret?: { reveal(): string } | undefined;
  /** The one name in its client certificate that is its own: `URI:…` or `DNS:…`. */
  readonly certificate?: string | undefined;
  /** Name of the policy in each phase. */
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
};

/** Who is asking; `id` is undefined where the operator lets connections without credentials in. */
export type Sandbox = {
  readonly id: string | undefined;
  readonly phase: Phase;
  readonly policy: string;
  /** What holds for it beside its policy; `undefined`: nothing. */
  readonly standing?: Standing | undefined;
  /** Stand in its audit records. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
};

export type Identified =
  | { readonly ok: true; readonly sandbox: Sandbox }
  | { readonly ok: false; readonly reason: "credentials-missing" | "credentials-wrong" };

export type IdentifierOptions = {
  readonly sandboxes: readonly SandboxEntry[];
  /** Policy for requests without credentials; absent: they are refused. Wrong credentials are refused in any case. */
  readonly anonymous?: string | undefined;
  /** Those that were registered, and what was ordered for any. */
  readonly roster?: Roster | undefined;
};

export type Identifier = {
  /** Where the listener says who is asking: this sandbox, or with `undefined` whoever has no credentials. */
  named(id: string | undefined): Identified;
  /**
   * To be called for each request: a tunnel's requests are those of its CONNECT's sandbox. `certificate`: the names in a
   * client certificate that was verified. It must name a sandbox, and credentials beside it the same one.
   */
  identify(headers: HeaderPairs, certificate?: readonly string[]): Identified;
  /** The roster holds something else for these; `undefined`: for everyone. */
  changed(ids: readonly string[] | undefined): void;
};

type Known = { readonly secret: Buffer; readonly hashed: boolean; readonly sandbox: Sandbox };

export function createIdentifier({ sandboxes, anonymous, roster }: IdentifierOptions): Identifier {
  // A KeyObject: a digest takes a quarter of the time that it takes with the key as octets.
  const key = createSecretKey(randomBytes(32));
  const digest = (octets: string | Buffer): Buffer => createHmac("sha256", key).update(octets).digest();
  const nobody = { secret: randomBytes(32), hashed: false, sandbox: undefined };
  const known = new Map<string, Known>();
  const certified = new Map<string, string>();
  const declared = declaredIn(sandboxes);
  // Keyed by digest, so that the time of the look-up tells nothing of the ids either.
  const nameOf = (id: string | Buffer): string => digest(id).toString("latin1");

  const settle = (id: string): void => {
    const entry = declared.get(id);
    const item = roster?.items.get(id);
    const sandbox = sandboxOf({ id, entry, item, everyone: roster?.everyone });
    const { registered } = item ?? {};
    if (sandbox === undefined) return void known.delete(nameOf(id));
    const hashed = entry === undefined && registered !== undefined;
    const secret = hashed ? registered.digest : (entry?.secret?.reveal() ?? randomBytes(32));
    known.set(nameOf(id), { secret: digest(secret), hashed, sandbox });
  };
  const nameless = (): Identified =>
    anonymous === undefined
      ? { ok: false, reason: "credentials-missing" }
      : {
          ok: true,
          sandbox: {
            id: undefined,
            phase: "agent",
            policy: anonymous,
            ...standingOf(undefined, roster?.everyone),
          },
        };
  let unnamed = nameless();
  for (const { id, certificate } of sandboxes) {
    settle(id);
    if (certificate !== undefined) certified.set(certificate, id);
  }
  for (const id of roster?.items.keys() ?? []) settle(id);

  const byId = (id: string): Sandbox | undefined => known.get(nameOf(id))?.sandbox;
  /** The one sandbox that it names; two would be a choice. */
  const byCertificate = (names: readonly string[]): Sandbox | undefined => {
    const named = new Set(names.map((name) => certified.get(name)).filter((one) => one !== undefined));
    const [id] = named;
    return named.size === 1 && id !== undefined ? byId(id) : undefined;
  };

  return {
    named(id) {
      if (id === undefined) return unnamed;
      const sandbox = byId(id);
      return sandbox === undefined ? WRONG : { ok: true, sandbox };
    },
    identify(headers, certificate) {
      const fields = all(headers, "proxy-authorization");
      const shown = certificate && byCertificate(certificate);
      if (certificate !== undefined && shown === undefined) return WRONG;
      if (fields.length === 0) return shown === undefined ? unnamed : { ok: true, sandbox: shown };
      const given = fields.length === 1 ? parseBasic(fields[0] ?? "") : undefined;
      if (given === undefined) return WRONG;
      const { secret, hashed, sandbox } = known.get(nameOf(given.id)) ?? nobody;
      // Both, whichever it is: time tells no one how a secret is kept.
      const forms = [digest(given.secret), digest(hash("sha256", given.secret, "base64url"))] as const;
      const same = timingSafeEqual(forms[hashed ? 1 : 0], secret);
      if (!same || sandbox === undefined) return WRONG;
      return shown === undefined || shown === sandbox ? { ok: true, sandbox } : WRONG;
    },
    changed(ids) {
      if (ids === undefined) unnamed = nameless();
      for (const id of ids ?? [...declared.keys(), ...(roster?.items.keys() ?? [])]) settle(id);
    },
  };
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
  const phase = item?.phase ?? entry?.phase;
  if (policies === undefined || phase === undefined) return undefined;
  const labels = entry === undefined ? item?.registered?.labels : undefined;
  return { id, phase, policy: policies[phase], labels, ...standingOf(item, everyone) };
}

function standingOf(own: Orders | undefined, everyone: Orders | undefined): { standing?: Standing } {
  const lockdown = everyone?.lockdown ?? own?.lockdown;
  const grants = [...(own?.grants ?? []), ...(everyone?.grants ?? [])];
  if (lockdown === undefined && grants.length === 0) return {};
  return { standing: { lockdown, grants: grants.length === 0 ? undefined : compileGrants(grants) } };
}

type Credentials = { readonly id: Buffer; readonly secret: Buffer };

/** Strict: the one canonical base64 of `id:secret`, neither empty. Octets are compared as they are, so no charset is assumed. */
function parseBasic(field: string): Credentials | undefined {
  if (field.length > MAX_FIELD) return undefined;
  const encoded = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(field)?.[1];
  if (encoded === undefined) return undefined;
  const octets = Buffer.from(encoded, "base64");
  // Unpadded text and stray bits in the last digit decode to octets that are spelled otherwise.
  if (octets.toString("base64") !== encoded) return undefined;
  const colon = octets.indexOf(0x3a);
  if (colon < 1 || colon === octets.length - 1) return undefined;
  return { id: octets.subarray(0, colon), secret: octets.subarray(colon + 1) };
}

const WRONG = { ok: false, reason: "credentials-wrong" } as const;
/** Room for the longest id and secret that the configuration takes. */
const MAX_FIELD = 4_096;
