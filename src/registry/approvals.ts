// Puts what a policy asks about to somebody, and brings their decision to the requests that wait for it: one document for
// requests that are alike, in the store that all replicas share, so that of several decisions one is first. Nobody is asked by
// more than so many at once, and what cannot be stored or recorded is not asked.

import { setTimeout as sleep } from "node:timers/promises";
import type { Change } from "../store/types.ts";
import { act } from "./action.ts";
import {
  type Approval,
  approvalOf,
  answerOf,
  type Asker,
  bodyOf,
  canBeShown,
  detailsOf,
  keyOf,
  newApproval,
  newId,
  viewOf,
  writeOf,
} from "./approval-document.ts";
import { ApprovalIndex, shareOf } from "./approval-index.ts";
import { type Judge, judgeBy } from "./approval-decision.ts";
import type { Answer, Approvals, Asking } from "./asking.ts";
import type { Registry } from "./registry.ts";
import { type Actor, type ApprovalView, ControlError, type Decision } from "./types.ts";
import { WaitingRoom } from "./waiting-room.ts";
import type { ApprovalEvents, ApprovalsOptions } from "./approval-options.ts";

export class ApprovalRegistry implements Pick<Approvals, "ask"> {
  readonly #registry: Registry;
  readonly #now: () => number;
  readonly #options: ApprovalsOptions;
  readonly #on: ApprovalEvents;
  readonly #judge: Judge;
  readonly #index: ApprovalIndex;
  readonly #room = new WaitingRoom();
  /** Being opened, by key: whoever asks the same meanwhile is told the same. */
  readonly #opening = new Map<string, Promise<Approval | undefined>>();
  /** Requests that joined since the document was written. */
  readonly #joined = new Map<string, number>();
  /** Decided, and not yet to be acted on. */
  readonly #settling = new Set<string>();
  readonly #stopListening: () => void;
  readonly #tending: NodeJS.Timeout;

  constructor(options: ApprovalsOptions) {
    this.#options = options;
    this.#registry = options.registry;
    this.#now = options.now;
    this.#on = options.on;
    this.#judge = judgeBy(options);
    const { replica } = options.registry;
    this.#index = new ApprovalIndex([...replica.all("approval")].map(approvalOf));
    this.#stopListening = replica.listen((changes) => this.#take(changes));
    this.#tending = setInterval(() => void this.#tend().catch(options.onFault), TEND_MS).unref();
    this.#on.pending(this.#index.pending);
  }

  all(): ApprovalView[] {
    return [...this.#index.all()].map((approval) => this.#present(approval));
  }

  #present(approval: Approval): ApprovalView {
    const joined = this.#joined.get(approval.id) ?? 0;
    return viewOf({ ...approval, requests: approval.requests + joined }, this.#now());
  }

  readonly ask = async (asking: Asking, signal: AbortSignal): Promise<Answer> => {
    try {
      for (let tries = 0; tries < MAX_TRIES; tries++) {
        const answer = await this.#ask(asking, signal);
        if (answer !== undefined) return answer;
      }
    } catch (error) {
      this.#options.onFault(error);
    }
    this.#on.question("unasked");
    return UNASKED;
  };

  /** `undefined`: what was known of it is over; to be asked anew. */
  async #ask(asking: Asking, signal: AbortSignal): Promise<Answer | undefined> {
    const asker = this.#judge.askerOf(asking);
    if (asker === undefined || !canBeShown(asking)) return this.#unasked();
    const key = keyOf(asking, asker);
    const known = this.#opening.get(key) ?? this.#index.newest(key);
    const approval = await (known ?? this.#openOnce(key, asking, asker));
    if (approval === undefined) return this.#unasked();
    const at = this.#now();
    switch (viewOf(approval, at).state) {
      case "pending":
        if (known !== undefined) this.#join(approval, asking);
        return this.#room.wait(approval.id, { share: shareOf(asking), ms: asking.waitMs, signal });
      case "denied":
        if (at < (approval.decidedAt ?? 0) + DENIED_MS) return answerOf(approval);
        return this.#anew(key, asking, { asker, signal });
      case "allowed":
        if (approval.scope === "once" && approval.taken === undefined) {
          if (at < (approval.decidedAt ?? 0) + ONCE_MS) return this.#claim(approval, signal);
        }
        return this.#anew(key, asking, { asker, signal });
      case "expired":
        return this.#anew(key, asking, { asker, signal });
    }
  }

  #unasked(): Answer {
    this.#on.question("unasked");
    return UNASKED;
  }

  async #anew(
    key: string,
    asking: Asking,
    { asker, signal }: { readonly asker: Asker; readonly signal: AbortSignal },
  ): Promise<Answer | undefined> {
    const approval = await this.#openOnce(key, asking, asker);
    if (approval === undefined) return this.#unasked();
    if (approval.state !== "pending") return undefined;
    return this.#room.wait(approval.id, { share: shareOf(asking), ms: asking.waitMs, signal });
  }

  #openOnce(key: string, asking: Asking, asker: Asker): Promise<Approval | undefined> {
    const opening = this.#opening.get(key);
    if (opening !== undefined) return opening;
    const opened = this.#open(key, asking, asker).finally(() => this.#opening.delete(key));
    this.#opening.set(key, opened);
    return opened;
  }

  /** `undefined`: too much is asked already. */
  async #open(key: string, asking: Asking, asker: Asker): Promise<Approval | undefined> {
    const at = this.#now();
    const { replica } = this.#registry;
    if (!this.#index.reserve(asking)) return undefined;
    try {
      const id = newId(key, this.#index.newest(key)?.id, at);
      const there = replica.get("approval", id);
      if (there !== undefined) return approvalOf(there);
      const approval = newApproval(asking, asker, { id, key, at, pendingMs: this.#options.pendingMs() });
      await this.#options.noted({
        action: "approval.ask",
        object: id,
        ...SYSTEM,
        ...detailsOf(approval, this.#options),
      });
      const written = await replica.write([writeOf(approval)]);
      const document = replica.get("approval", id);
      if (!written.ok) return document && approvalOf(document);
      this.#on.question("new");
      const opened = { ...approval, version: 1 };
      this.#on.opened(viewOf(opened, at));
      return document === undefined ? opened : approvalOf(document);
    } finally {
      this.#index.release(asking);
    }
  }

  #join(approval: Approval, { waitMs }: Asking): void {
    this.#on.question("known");
    this.#joined.set(approval.id, (this.#joined.get(approval.id) ?? 0) + 1);
    // Whoever decides is to know at once that somebody waits.
    if (waitMs > 0 && !approval.held)
      void this.#put(approval.id, (now) => ({ ...now, held: true })).catch(this.#options.onFault);
  }

  /** The next request of its kind takes what was allowed once and nobody waited for; those that waited come first. */
  async #claim(approval: Approval, signal: AbortSignal): Promise<Answer | undefined> {
    const left = (approval.decidedAt ?? 0) + this.#options.heldFirstMs - this.#now();
    if (approval.held && left > 0) await sleep(left, undefined, { signal }).catch(() => {});
    if (signal.aborted) return { outcome: "pending", id: approval.id };
    const written = await this.#registry.replica.write([writeOf({ ...approval, taken: "next" })]);
    return written.ok ? answerOf(approval) : undefined;
  }

  async decide(actor: Actor, id: string, decision: Decision): Promise<ApprovalView> {
    const before = this.#known(id);
    const { action, reason } = decision;
    const scope = action === "allow" ? decision.scope : undefined;
    const details = { scope, reason, ...detailsOf(before, this.#options) };
    const about = { action: `approval.${action}`, object: id, details };
    const decided = await act(this.#options.noted, actor, about, () => this.#decide(actor, id, decision));
    await this.#registry.settled();
    this.#on.decided(scope ?? "denied");
    return this.#present(this.#index.get(id) ?? decided);
  }

  #known(id: string): Approval {
    const approval = this.#index.get(id);
    if (approval !== undefined) return approval;
    throw new ControlError("not-found", `there is no approval ${JSON.stringify(id)}`);
  }

  async #decide(actor: Actor, id: string, decision: Decision): Promise<Approval> {
    const { replica } = this.#registry;
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const approval = this.#known(id);
      const judged = await this.#judge.decided(approval, decision, {
        actor,
        // Of those that wait here it is known already; on other replicas they take it when they hear of it.
        awaited: this.#room.isAwaited(id),
      });
      this.#settling.add(id);
      try {
        if (!(await replica.write([writeOf(judged.approval), ...judged.writes])).ok) continue;
        await judged.finish().catch(async (error: unknown) => {
          await this.#put(id, () => ({ ...approval, version: 0 }));
          throw error;
        });
      } finally {
        this.#settling.delete(id);
      }
      this.#settle(id);
      return judged.approval;
    }
    throw new ControlError("conflict", "others are deciding on it; look again");
  }

  close(): void {
    clearInterval(this.#tending);
    this.#stopListening();
  }

  #take(changes: readonly Change[]): void {
    const changed = changes.filter(({ kind }) => kind === "approval");
    if (changed.length === 0) return;
    for (const change of changed) {
      if ("removed" in change) this.#index.remove(change.id);
      else this.#index.put(approvalOf(change));
    }
    this.#on.pending(this.#index.pending);
    // What it brings about holds everywhere before those that wait go on.
    void this.#registry
      .settled()
      .then(() => changed.forEach(({ id }) => this.#settle(id)))
      .catch(this.#options.onFault);
  }

  /** Tells those that wait, once it is decided. */
  #settle(id: string): void {
    const approval = this.#index.get(id);
    if (approval === undefined || approval.state === "pending") return;
    if (this.#settling.has(id) || !this.#room.isAwaited(id)) return;
    if (approval.state !== "allowed" || approval.scope !== "once" || approval.taken === "held")
      return this.#room.answer(id, answerOf(approval));
    if (approval.taken === "next") return this.#room.answer(id, { outcome: "pending", id });
    // Written or not, the change that follows says who has it.
    void this.#registry.replica.write([writeOf({ ...approval, taken: "held" })]).catch(this.#options.onFault);
  }

  /** What time brings about: counts are written, what nobody decided expires, what is long over is forgotten. */
  async #tend(): Promise<void> {
    const at = this.#now();
    const all = [...this.#joined];
    this.#joined.clear();
    for (const [id, joined] of all) {
      await this.#put(id, (approval) => ({ ...approval, requests: approval.requests + joined }));
    }
    for (const approval of this.#index.all()) {
      if (approval.state === "pending") {
        const because = this.#judge.moot(approval);
        if (because !== undefined) await this.#expire(approval, because);
      } else if (at >= (approval.decidedAt ?? approval.expires) + KEPT_MS) {
        await this.#registry.replica.write([{ ...writeOf(approval), body: undefined }]);
      } else if (this.#room.isAwaited(approval.id)) this.#settle(approval.id);
    }
  }

  async #expire(approval: Approval, because: string): Promise<void> {
    const expired = writeOf({ ...approval, state: "expired", decidedAt: this.#now() });
    const written = await this.#registry.replica.write([expired]);
    if (!written.ok) return;
    this.#on.decided("expired");
    await this.#options.noted({ action: "approval.expire", object: approval.id, ...SYSTEM, because });
  }

  async #put(id: string, change: (approval: Approval) => Approval): Promise<void> {
    await this.#registry.replica.update(
      "approval",
      id,
      (document) => document && bodyOf(change(approvalOf(document))),
    );
  }
}

const UNASKED: Answer = { outcome: "unasked" };
const SYSTEM = { actor: "sallyport", role: "system", from: "local" } as const;
const MAX_TRIES = 5;
const TEND_MS = 1_000;
/** What was allowed once, and nobody waited for, is to be had for so long. */
const ONCE_MS = 5 * 60_000;
/** An agent that asks again is not put to somebody again so soon. */
const DENIED_MS = 10 * 60_000;
const KEPT_MS = 86_400_000;
