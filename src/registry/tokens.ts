// Tokens of the API: made, told once, revoked. Whose a token is, is found out in constant time; absence is nobody.

import { act, type Noted } from "./action.ts";
import { BOUNDS, checkId, checkTtl } from "./checks.ts";
import { bodyOf, toBody, type TokenBody } from "./documents.ts";
import type { Document } from "../store/types.ts";
import type { Replica } from "./replica.ts";
import { digestOf, newId, newSecret, sameDigest } from "./secrets.ts";
import { type Actor, ControlError, type NewToken, type TokenView } from "./types.ts";

export type TokensOptions = {
  readonly replica: Replica;
  readonly noted: Noted;
  readonly now: () => number;
};

export class Tokens {
  readonly #options: TokensOptions;

  constructor(options: TokensOptions) {
    this.#options = options;
  }

  all(): TokenView[] {
    return [...this.#options.replica.all("token")].map(viewOf);
  }

  async create(
    actor: Actor,
    { name, role, ttl }: NewToken,
  ): Promise<{ readonly token: TokenView; readonly secret: string }> {
    const { replica, noted, now } = this.#options;
    checkId(name);
    checkTtl("a token's time", ttl);
    if (replica.count("token") >= BOUNDS.tokens)
      throw new ControlError("unavailable", `there are ${BOUNDS.tokens} tokens already; revoke some`);
    if (this.all().some((token) => token.name === name))
      throw new ControlError("conflict", `there is a token named ${name} already`);
    const { secret, digest } = newSecret("spt");
    const at = now();
    const expires = ttl === undefined ? undefined : at + ttl;
    const body: TokenBody = { name, role, digest, createdAt: at, createdBy: actor.name, expires };
    const id = newId("token");
    const details = { name, grants: role, expires };
    await act(noted, actor, { action: "token.create", object: id, details }, async () => {
      await replica.write([{ kind: "token", id, body: toBody(body), version: 0 }]);
    });
    return { token: this.#present(id), secret };
  }

  async revoke(actor: Actor, id: string): Promise<void> {
    const { replica, noted } = this.#options;
    const { name } = this.#present(id);
    await act(noted, actor, { action: "token.revoke", object: id, details: { name } }, async () => {
      await replica.update("token", id, () => undefined);
    });
  }

  authenticate(secret: string): TokenView | undefined {
    const { replica, now } = this.#options;
    const digest = digestOf(secret);
    let found: TokenView | undefined;
    // All of them, whichever it is: how long it takes tells nothing.
    for (const document of replica.all("token"))
      if (sameDigest(bodyOf("token", document).digest, digest)) found = viewOf(document);
    return found?.expires !== undefined && found.expires <= now() ? undefined : found;
  }

  #present(id: string): TokenView {
    const document = this.#options.replica.get("token", id);
    if (document === undefined)
      throw new ControlError("not-found", `there is no token ${JSON.stringify(id)}`);
    return viewOf(document);
  }
}

function viewOf(document: Document): TokenView {
  const { name, role, createdAt, createdBy, expires } = bodyOf("token", document);
  return { id: document.id, name, role, createdAt, createdBy, expires, version: document.version };
}
