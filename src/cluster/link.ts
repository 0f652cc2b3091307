// A worker's end of the channel to the primary. Whoever waits for an answer waits within a bound, and where the primary is
// gone, for nothing: then the worker must end too.

import cluster from "node:cluster";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import type { MintedLeaf } from "../tls/minter.ts";
import type { LeafAnswer, ToPrimary, ToWorker, WorkerStart } from "./messages.ts";

/** What the primary tells a worker that has started. */
export type Told = Exclude<ToWorker, { type: "start" | "leaf" }>;

export type Link = {
  readonly start: Promise<WorkerStart>;
  /** Resolves once the primary is gone. */
  readonly lost: Promise<void>;
  /** From now on; what came before is told first. */
  listen(take: (message: Told) => void): void;
  /** Resolves once it is handed to the system. */
  send(message: ToPrimary): Promise<void>;
  askLeaf(host: Host, asker: string): Promise<MintedLeaf>;
};

/** Of this process, other than in tests. */
export type Channel = Pick<NodeJS.Process, "connected" | "on" | "once" | "send">;

export function connectPrimary(channel: Channel = process): Link {
  // Or Node would end the process with the channel, and with it what the audit log has still to write.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  const start = Promise.withResolvers<WorkerStart>();
  const lost = Promise.withResolvers<void>();
  const questions = new Map<number, (answer: LeafAnswer) => void>();
  const early: Told[] = [];
  let take = (message: Told): void => void early.push(message);
  let asked = 0;

  channel.on("message", (message: ToWorker) => {
    if (message.type === "start") start.resolve(message.start);
    else if (message.type === "leaf") questions.get(message.id)?.(message.answer);
    else take(message);
  });
  channel.once("disconnect", () => lost.resolve());

  const send = (message: ToPrimary): Promise<void> =>
    new Promise((resolve) => {
      if (channel.send === undefined || !channel.connected) return resolve();
      channel.send(message, undefined, undefined, () => resolve());
    });

  return {
    start: start.promise,
    lost: lost.promise,
    send,
    listen(taker) {
      take = taker;
      for (const message of early.splice(0)) taker(message);
    },
    async askLeaf(host, asker) {
      const id = ++asked;
      const answer = await new Promise<LeafAnswer>((resolve) => {
        const timer = setTimeout(() => resolve(NO_ANSWER), LEAF_MS);
        questions.set(id, (given) => {
          clearTimeout(timer);
          resolve(given);
        });
        void send({ type: "leaf", id, host, asker });
      });
      questions.delete(id);
      if (!answer.ok) throw new ProxyFault(answer.reason);
      return answer.leaf;
    },
  };
}

const NO_ANSWER: LeafAnswer = { ok: false, reason: "mint-unavailable" };
const LEAF_MS = 5_000;
