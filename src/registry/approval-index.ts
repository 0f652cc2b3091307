// The approvals that are known, by what asks for them; and how many may be open of one sandbox, and in all.

import type { Approval } from "./approval-document.ts";
import type { Asking } from "./asking.ts";

export class ApprovalIndex {
  readonly #byId = new Map<string, Approval>();
  readonly #newest = new Map<string, Approval>();
  /** Open, or being opened. */
  readonly #open = new Map<string, number>();
  #pending = 0;
  #opening = 0;

  constructor(approvals: Iterable<Approval>) {
    for (const approval of approvals) this.put(approval);
  }

  get pending(): number {
    return this.#pending;
  }

  all(): Iterable<Approval> {
    return this.#byId.values();
  }

  get(id: string): Approval | undefined {
    return this.#byId.get(id);
  }

  /** Of those that are alike. */
  newest(key: string): Approval | undefined {
    return this.#newest.get(key);
  }

  put(approval: Approval): void {
    const { id, key } = approval;
    this.#count(this.#byId.get(id), -1);
    this.#count(approval, 1);
    this.#byId.set(id, approval);
    const newest = this.#newest.get(key);
    if (newest === undefined || newest.id === id || newest.askedAt <= approval.askedAt)
      this.#newest.set(key, approval);
  }

  remove(id: string): void {
    const approval = this.#byId.get(id);
    if (approval === undefined) return;
    this.#count(approval, -1);
    this.#byId.delete(id);
    if (this.#newest.get(approval.key)?.id === id) this.#newest.delete(approval.key);
  }

  /** Room for one more, until it is released; false where there is none. */
  reserve(asking: Asking): boolean {
    const share = shareOf(asking);
    if ((this.#open.get(share) ?? 0) >= MAX_OF_SHARE || this.#pending + this.#opening >= MAX_IN_ALL)
      return false;
    this.#opening++;
    this.#add(share, 1);
    return true;
  }

  release(asking: Asking): void {
    this.#opening--;
    this.#add(shareOf(asking), -1);
  }

  #count(approval: Approval | undefined, by: 1 | -1): void {
    if (approval?.state !== "pending") return;
    this.#pending += by;
    this.#add(shareOf({ sandbox: approval.sandbox, address: approval.source ?? "" }), by);
  }

  #add(share: string, by: number): void {
    const open = (this.#open.get(share) ?? 0) + by;
    if (open === 0) this.#open.delete(share);
    else this.#open.set(share, open);
  }
}

/** Who asks: a sandbox, or where nobody says who they are, an address. */
export function shareOf({ sandbox, address }: Pick<Asking, "sandbox" | "address">): string {
  return sandbox === undefined ? `address ${address}` : `id ${sandbox}`;
}

const MAX_OF_SHARE = 64;
const MAX_IN_ALL = 4_096;
