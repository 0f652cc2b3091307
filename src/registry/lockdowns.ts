// Lockdown: nothing leaves any more, from one sandbox or from all, until it is lifted.

import { act, type Noted } from "./action.ts";
import { checkReason } from "./checks.ts";
import { bodyOf, type LockdownBody, toBody } from "./documents.ts";
import type { Document } from "../store/types.ts";
import type { Replica } from "./replica.ts";
import { type Actor, ControlError, type LockdownView } from "./types.ts";

export type LockdownsOptions = {
  readonly replica: Replica;
  readonly noted: Noted;
  readonly isSandbox: (id: string) => boolean;
  readonly now: () => number;
};

export class Lockdowns {
  readonly #options: LockdownsOptions;

  constructor(options: LockdownsOptions) {
    this.#options = options;
  }

  all(): LockdownView[] {
    return [...this.#options.replica.all("lockdown")].map(viewOf);
  }

  async order(actor: Actor, sandbox: string, reason: string): Promise<LockdownView> {
    const { replica, noted, isSandbox, now } = this.#options;
    checkReason(reason);
    if (sandbox !== EVERYONE && !isSandbox(sandbox))
      throw new ControlError("not-found", `there is no sandbox ${JSON.stringify(sandbox)}`);
    const body: LockdownBody = { reason, orderedBy: actor.name, orderedAt: now() };
    await act(noted, actor, { action: "lockdown", object: sandbox, details: { reason } }, async () => {
      await replica.update("lockdown", sandbox, () => toBody(body));
    });
    return { sandbox, ...body };
  }

  async lift(actor: Actor, sandbox: string, reason: string): Promise<void> {
    const { replica, noted } = this.#options;
    checkReason(reason);
    if (replica.get("lockdown", sandbox) === undefined)
      throw new ControlError(
        "not-found",
        `there is no lockdown of ${sandbox === EVERYONE ? "all" : sandbox}`,
      );
    await act(noted, actor, { action: "lockdown.lift", object: sandbox, details: { reason } }, async () => {
      await replica.update("lockdown", sandbox, () => undefined);
    });
  }
}

function viewOf(document: Document): LockdownView {
  return { sandbox: document.id, ...bodyOf("lockdown", document) };
}

/** Every sandbox, and whoever has no name. */
export const EVERYONE = "*";
