// Tells whoever listens that something changed, as server-sent events: what, is for them to read.

import type { ServerResponse } from "node:http";
import type { Actor } from "../registry/types.ts";
import { GUARDED } from "./answer.ts";
import { Problem } from "./problem.ts";
import { type ApiParts, type Route, route, VIEWERS } from "./route.ts";

export const EVENT_ROUTES: readonly Route[] = [
  route({
    method: "GET",
    path: "/v1/events",
    roles: VIEWERS,
    summary: "Server-sent events: `changed` whenever sandboxes, grants, lockdowns or approvals did",
    success: { status: 200, is: "A stream of `text/event-stream` that does not end." },
    run: () => undefined,
    stream,
  }),
];

/** Of this process, by who listens. */
const listeners = new Map<string, number>();

function stream({ control, actor: { name } }: ApiParts & { actor: Actor }, response: ServerResponse): void {
  const own = listeners.get(name) ?? 0;
  const all = [...listeners.values()].reduce((sum, count) => sum + count, 0);
  // One that takes them all would leave none for whoever approves.
  if (own >= MOST_OF_ONE || all >= MOST)
    throw new Problem(
      "unavailable",
      own >= MOST_OF_ONE ? `${own} of yours listen already` : `${all} listen already`,
      {
        headers: { "Retry-After": "10" },
      },
    );
  listeners.set(name, own + 1);
  response.writeHead(200, { "Content-Type": "text/event-stream", ...GUARDED });
  let soon: NodeJS.Timeout | undefined;
  // Whoever does not read is not written to; it is told of all at once when it does.
  const write = (text: string): void => void (response.writableNeedDrain || response.write(text));
  const say = (): void => {
    soon = undefined;
    write("event: changed\ndata: {}\n\n");
  };
  const unwatch = control.watch(() => (soon ??= setTimeout(say, GATHER_MS)));
  const beat = setInterval(() => write(": still here\n\n"), BEAT_MS).unref();
  say();
  response.on("close", () => {
    const left = (listeners.get(name) ?? 1) - 1;
    if (left === 0) listeners.delete(name);
    else listeners.set(name, left);
    unwatch();
    clearInterval(beat);
    clearTimeout(soon);
  });
}

const MOST_OF_ONE = 8;
const MOST = 256;
/** What changes together is told once. */
const GATHER_MS = 50;
/** More often than the listener ends idle connections. */
const BEAT_MS = 3_000;
