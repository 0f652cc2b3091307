// Tells whoever listens that something changed, as server-sent events: what, is for them to read.

import type { ServerResponse } from "node:http";
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

let listeners = 0;

function stream({ control }: ApiParts, response: ServerResponse): void {
  if (listeners >= MAX_LISTENERS)
    throw new Problem("unavailable", `${MAX_LISTENERS} listen already`, { headers: { "Retry-After": "10" } });
  listeners++;
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
    listeners--;
    unwatch();
    clearInterval(beat);
    clearTimeout(soon);
  });
}

const MAX_LISTENERS = 32;
/** What changes together is told once. */
const GATHER_MS = 50;
/** More often than the listener ends idle connections. */
const BEAT_MS = 3_000;
