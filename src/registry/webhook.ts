// Tells whoever decides, at an address of the operator's, that an approval is waiting: signed, so that they can tell it is true,
// and with an id, so that what comes twice counts once. No request ever waits for it; what cannot be told is dropped, counted.

import { createHmac } from "node:crypto";
import { type RequestOptions, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { Secret } from "../net/secret.ts";
import type { ApprovalView } from "./types.ts";

export type WebhookTarget = {
  readonly url: string;
  readonly secret: Secret;
  /** Trust anchors that it is verified against, PEM. */
  readonly trust: readonly string[];
};

export type WebhookOptions = {
  /** As the configuration says now; `undefined`: nobody is to be told. */
  readonly target: () => WebhookTarget | undefined;
  readonly on: {
    readonly delivery: (outcome: "delivered" | "failed" | "dropped") => void;
    readonly fault: (error: Error) => void;
  };
  readonly now: () => number;
  /** Before the second attempt; twice as long before each that follows. */
  readonly firstWaitMs?: number;
};

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #queue: ApprovalView[] = [];
  readonly #closing = new AbortController();
  #running = 0;

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  readonly tell = (approval: ApprovalView): void => {
    if (this.#options.target() === undefined || this.#closing.signal.aborted) return;
    if (this.#queue.length >= MAX_QUEUED) return this.#options.on.delivery("dropped");
    this.#queue.push(approval);
    if (this.#running < MAX_AT_ONCE) void this.#run();
  };

  close(): void {
    this.#closing.abort();
    this.#queue.length = 0;
  }

  async #run(): Promise<void> {
    this.#running++;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift())
      await this.#deliver(next);
    this.#running--;
  }

  async #deliver(approval: ApprovalView): Promise<void> {
    const { target, on, now, firstWaitMs = FIRST_WAIT_MS } = this.#options;
    const { signal } = this.#closing;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      if (attempt > 0) await sleep(firstWaitMs * 2 ** (attempt - 1), undefined, { signal }).catch(() => {});
      const to = target();
      if (to === undefined || signal.aborted) return;
      try {
        await post(to, messageOf(approval, to.secret, now()), signal);
        return on.delivery("delivered");
      } catch (error) {
        if (attempt === MAX_ATTEMPTS - 1 && !signal.aborted)
          on.fault(error instanceof Error ? error : new Error(String(error)));
      }
    }
    on.delivery("failed");
  }
}

type Message = { readonly body: Buffer; readonly headers: Readonly<Record<string, string>> };

/** The same body and id at each attempt; the signature covers the time, so that an old one is of no use to anybody. */
function messageOf(approval: ApprovalView, secret: Secret, at: number): Message {
  const body = Buffer.from(JSON.stringify({ type: "approval.pending", approval }), "utf8");
  const seconds = Math.floor(at / 1000);
  const mac = createHmac("sha256", secret.reveal()).update(`${seconds}.`).update(body).digest("hex");
  return {
    body,
    headers: {
      "Content-Type": "application/json",
      "Content-Length": String(body.length),
      "User-Agent": "sallyport",
      "Idempotency-Key": `approval.pending/${approval.id}`,
      "Sallyport-Signature": `t=${seconds},v1=${mac}`,
    },
  };
}

/** Any 2xx will do; redirects are not followed. */
function post(
  { url, trust }: WebhookTarget,
  { body, headers }: Message,
  closing: AbortSignal,
): Promise<void> {
  const signal = AbortSignal.any([closing, AbortSignal.timeout(ATTEMPT_MS)]);
  const options: RequestOptions = { method: "POST", headers, ca: [...trust], agent: false, signal };
  return new Promise((resolve, reject) => {
    const asked = request(url, { ...options, minVersion: "TLSv1.2" }, (answer) => {
      const { statusCode = 0 } = answer;
      // What it says is nobody's business.
      answer.destroy();
      if (statusCode >= 200 && statusCode < 300) resolve();
      else reject(new Error(`the webhook answered ${statusCode}`));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

const MAX_QUEUED = 256;
const MAX_AT_ONCE = 2;
const MAX_ATTEMPTS = 6;
const FIRST_WAIT_MS = 1_000;
const ATTEMPT_MS = 10_000;
