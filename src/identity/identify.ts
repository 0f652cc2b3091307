// Says which sandbox a request is from, by its Proxy-Authorization field (RFC 7617) or its client certificate, and which
// policy holds for it.
// Never says yes to anything but an exact match, and takes as long over an unknown id as over a wrong secret.

import { createHmac, createSecretKey, randomBytes, timingSafeEqual } from "node:crypto";
import { all, type HeaderPairs } from "../net/headers.ts";
import type { Phase, Standing } from "../policy/types.ts";

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
};

export type Identifier = {
  /** Where the listener says who is asking: this sandbox, or with `undefined` whoever has no credentials. */
  named(id: string | undefined): Identified;
  /**
   * To be called for each request: a tunnel's requests are those of its CONNECT's sandbox. `certificate`: the names in a
   * client certificate that was verified. It must name a sandbox, and credentials beside it the same one.
   */
  identify(headers: HeaderPairs, certificate?: readonly string[]): Identified;
};

export function createIdentifier({ sandboxes, anonymous }: IdentifierOptions): Identifier {
  // A KeyObject: a digest takes a quarter of the time that it takes with the key as octets.
  const key = createSecretKey(randomBytes(32));
  const digest = (octets: string | Buffer): Buffer => createHmac("sha256", key).update(octets).digest();
  const nobody = { secret: randomBytes(32), sandbox: undefined };
  const known = new Map<string, { readonly secret: Buffer; readonly sandbox: Sandbox }>();
  const certified = new Map<string, Sandbox>();
  for (const { id, secret, certificate, policies, phase } of sandboxes) {
    // Keyed by digest, so that the time of the look-up tells nothing of the ids either.
    const name = digest(id).toString("latin1");
    if (known.has(name)) throw new Error(`two sandboxes have the id ${JSON.stringify(id)}`);
    const sandbox = { id, phase, policy: policies[phase] };
    known.set(name, { secret: digest(secret?.reveal() ?? randomBytes(32)), sandbox });
    if (certificate !== undefined) certified.set(certificate, sandbox);
  }
  /** The one sandbox that it names; two would be a choice. */
  const byCertificate = (names: readonly string[]): Sandbox | undefined => {
    const named = new Set(names.map((name) => certified.get(name)).filter((one) => one !== undefined));
    return named.size === 1 ? [...named][0] : undefined;
  };

  const nameless: Identified =
    anonymous === undefined
      ? { ok: false, reason: "credentials-missing" }
      : { ok: true, sandbox: { id: undefined, phase: "agent", policy: anonymous } };

  return {
    named(id) {
      if (id === undefined) return nameless;
      const sandbox = known.get(digest(id).toString("latin1"))?.sandbox;
      return sandbox === undefined ? WRONG : { ok: true, sandbox };
    },
    identify(headers, certificate) {
      const fields = all(headers, "proxy-authorization");
      const shown = certificate && byCertificate(certificate);
      if (certificate !== undefined && shown === undefined) return WRONG;
      if (fields.length === 0) {
        return shown === undefined ? nameless : { ok: true, sandbox: shown };
      }
      const given = fields.length === 1 ? parseBasic(fields[0] ?? "") : undefined;
      if (given === undefined) return WRONG;
      const entry = known.get(digest(given.id).toString("latin1")) ?? nobody;
      const same = timingSafeEqual(digest(given.secret), entry.secret);
      if (!same || entry.sandbox === undefined) return WRONG;
      return shown === undefined || shown === entry.sandbox ? { ok: true, sandbox: entry.sandbox } : WRONG;
    },
  };
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
