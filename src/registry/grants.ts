// What somebody granted for a while: more than a sandbox's policy allows, never more than the requirements do.

import type { Grant } from "../policy/types.ts";
import type { Above } from "./above.ts";
import { act, type Noted } from "./action.ts";
import { BOUNDS, checkGrant } from "./checks.ts";
import { bodyOf, type GrantBody } from "./documents.ts";
import type { Document, Write } from "../store/types.ts";
import type { Replica } from "./replica.ts";
import { newId } from "./secrets.ts";
import { type Actor, ControlError, type GrantView, type NewGrant } from "./types.ts";

export type GrantsOptions = {
  readonly replica: Replica;
  readonly noted: Noted;
  readonly isSandbox: (id: string) => boolean;
  readonly above: Pick<Above, "grant" | "longestMs">;
  readonly onExpired: (grant: { readonly id: string; readonly used: boolean }) => void;
  readonly now: () => number;
};

export class Grants {
  readonly #options: GrantsOptions;
  /** When it ends, whatever was required when it was given. */
  readonly lifeOf = (document: Document): GrantBody => {
    const body = bodyOf("grant", document);
    const longest = this.#options.above.longestMs();
    return longest === undefined
      ? body
      : { ...body, expires: Math.min(body.expires, body.createdAt + longest) };
  };

  constructor(options: GrantsOptions) {
    this.#options = options;
  }

  all(): GrantView[] {
    return [...this.#options.replica.all("grant")].map((one) => viewOf(one, this.lifeOf(one)));
  }

  async grant(actor: Actor, grant: NewGrant): Promise<GrantView> {
    const { replica, noted, isSandbox, above, now } = this.#options;
    checkGrant(grant);
    const { sandbox, host, ports, methods, paths, reason } = grant;
    if (sandbox !== undefined && !isSandbox(sandbox))
      throw new ControlError("not-found", `there is no sandbox ${JSON.stringify(sandbox)}`);
    const write = grantWrite({ replica, above, now }, actor, grant);
    const { id, body } = write;
    const details = {
      sandbox: sandbox ?? "*",
      host,
      ports: ports?.join(" "),
      methods: methods === "all" ? methods : methods.join(" "),
      paths: paths?.join(" "),
      reason,
      expires: body.expires,
    };
    await act(noted, actor, { action: "grant.create", object: id, details }, async () => {
      await replica.write([write]);
    });
    return this.#present(id);
  }

  async revoke(actor: Actor, id: string): Promise<void> {
    const { replica, noted } = this.#options;
    const { host, sandbox = "*" } = this.#present(id);
    await act(noted, actor, { action: "grant.revoke", object: id, details: { sandbox, host } }, async () => {
      await replica.update("grant", id, () => undefined);
    });
  }

  /** It is over; the record says whether anything ever came of it. */
  async expire(actor: Actor, id: string): Promise<void> {
    const { replica, noted, onExpired } = this.#options;
    const document = replica.get("grant", id);
    if (document === undefined) return;
    const { host, sandbox = "*", usedAt } = bodyOf("grant", document);
    const details = { sandbox, host, used: usedAt !== undefined };
    await act(noted, actor, { action: "grant.expire", object: id, details }, async () => {
      await replica.update("grant", id, () => undefined);
    });
    onExpired({ id, used: details.used });
  }

  expiresAt(id: string): number | undefined {
    const document = this.#options.replica.get("grant", id);
    return document && this.lifeOf(document).expires;
  }

  #present(id: string): GrantView {
    const document = this.#options.replica.get("grant", id);
    if (document === undefined)
      throw new ControlError("not-found", `there is no grant ${JSON.stringify(id)}`);
    return viewOf(document, this.lifeOf(document));
  }
}

/** The document of a grant that was checked, unless the requirements forbid it or there are too many. */
export function grantWrite(
  { replica, above, now }: Pick<GrantsOptions, "replica" | "above" | "now">,
  actor: Actor,
  grant: NewGrant,
): Write & { readonly body: GrantBody } {
  const why = above.grant(grant, actor);
  if (why !== undefined) throw new ControlError("above-requirements", why);
  if (replica.count("grant") >= BOUNDS.grants) throw tooMany(`${BOUNDS.grants}`);
  const { sandbox, host, ports, methods, paths, reason, ttl } = grant;
  const most = sandbox === undefined ? BOUNDS.grantsOfAll : BOUNDS.grantsOfOne;
  const alike = [...replica.all("grant")].filter((one) => bodyOf("grant", one).sandbox === sandbox);
  if (alike.length >= most) throw tooMany(`${most} such`);
  const at = now();
  const life = { owner: actor.name, createdAt: at, expires: at + ttl, usedAt: undefined };
  const body: GrantBody = { sandbox, host, ports, methods, paths, reason, ...life };
  return { kind: "grant", id: newId("grant"), body, version: 0 };
}

function tooMany(most: string): ControlError {
  return new ControlError("unavailable", `there are ${most} grants already; revoke some`);
}

/** As the policy takes it. */
export function grantOf({ id }: Document, body: GrantBody): Grant {
  const { host, ports, methods, paths, reason, owner, expires } = body;
  return {
    id,
    host,
    methods,
    expires,
    reason,
    source: `grant of ${owner}`,
    ...(ports !== undefined && { ports }),
    ...(paths !== undefined && { paths }),
  };
}

function viewOf({ id, version }: Document, body: GrantBody): GrantView {
  const { sandbox, host, ports, methods, paths, reason, owner, createdAt, expires, usedAt } = body;
  return { id, sandbox, host, ports, methods, paths, reason, owner, createdAt, expires, usedAt, version };
}
