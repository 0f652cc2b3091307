// Says which sandbox a request is from: by its listener, its client certificate, its Proxy-Authorization field (RFC 7617) or the
// network that it comes from, and which policy holds for it.
// Never says yes to anything but an exact match, and takes as long over an unknown id as over a wrong secret.

import { all, type HeaderPairs } from "../net/headers.ts";
import type { Phase, Standing } from "../policy/types.ts";
import { Known } from "./known.ts";
import { agree, type Claims } from "./means.ts";
import type { Roster } from "./roster.ts";

export type SandboxEntry = {
  readonly id: string;
  /** Absent: it is known by its certificate alone. */
  readonly secret?: { reveal(): string } | undefined;
  /** The one name in its client certificate that is its own: `URI:…` or `DNS:…`. */
  readonly certificate?: string | undefined;
  /** Networks from which it needs neither. */
  readonly sources?: readonly string[] | undefined;
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

/** Where a connection came in, and from where. */
export type Place = {
  /** Id of the sandbox that the listener is for alone; `undefined`: it is for any. */
  readonly listener?: string | undefined;
  /** The peer's address; `undefined`: it has none, or it is somebody else's. */
  readonly source?: string | undefined;
};

export type Identifier = {
  /** Where nothing that is said on a connection counts, but where it came in and from where. */
  placed(place: Place): Identified;
  /**
   * To be called for each request: a tunnel's requests are those of its CONNECT's sandbox. `certificate`: the names in a
   * client certificate that was verified. Whatever says anything must name the same sandbox.
   */
  identify(headers: HeaderPairs, certificate?: readonly string[], place?: Place): Identified;
  /** The roster holds something else for these; `undefined`: for everyone. */
  changed(ids: readonly string[] | undefined): void;
};

export function createIdentifier(options: IdentifierOptions): Identifier {
  const known = new Known(options);
  const claimsOf = ({ listener, source }: Place): Claims<Sandbox> => ({
    listener: listener === undefined ? undefined : (known.byId(listener) ?? null),
    source: source === undefined ? undefined : known.bySource(source),
  });
  const settle = (claims: Claims<Sandbox>): Identified => {
    const agreed = agree(claims);
    if (!agreed.ok) return WRONG;
    const sandbox = agreed.who ?? known.nameless;
    return sandbox === undefined ? MISSING : { ok: true, sandbox };
  };
  return {
    placed: (place) => settle(claimsOf(place)),
    identify(headers, certificate, place = {}) {
      const fields = all(headers, "proxy-authorization");
      const given = fields.length === 1 ? parseBasic(fields[0] ?? "") : undefined;
      return settle({
        ...claimsOf(place),
        certificate: certificate && (known.byCertificate(certificate) ?? null),
        credentials: fields.length === 0 ? undefined : ((given && known.byCredentials(given)) ?? null),
      });
    },
    changed: (ids) => known.changed(ids),
  };
}

export type Credentials = { readonly id: Buffer; readonly secret: Buffer };

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

const MISSING = { ok: false, reason: "credentials-missing" } as const;
const WRONG = { ok: false, reason: "credentials-wrong" } as const;
/** Room for the longest id and secret that the configuration takes. */
const MAX_FIELD = 4_096;
