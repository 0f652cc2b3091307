// Who asks: the holder of a token, or this machine's administrator at the Unix socket. Nobody else is anybody.

import type { IncomingMessage } from "node:http";
import type { GuessLimiter } from "../identity/guess-limiter.ts";
import type { Actor, TokenView } from "../registry/types.ts";
import { Problem } from "./problem.ts";

export type CallerOptions = {
  /** In constant time. */
  readonly authenticate: (secret: string) => TokenView | undefined;
  readonly guesses: GuessLimiter;
  readonly now: () => number;
};

/** `local`: the request came over the Unix socket. Throws a `Problem` for whoever it is not. */
export type Callers = (request: IncomingMessage, local: boolean) => Actor;

export function createCallers({ authenticate, guesses, now }: CallerOptions): Callers {
  return (request, local) => {
    const { authorization } = request.headers;
    if (authorization === undefined) {
      if (local) return { name: `cli:${userOf(request)}`, role: "admin", from: "local" };
      throw unauthenticated("say who you are: `Authorization: Bearer spt_…`");
    }
    const { remoteAddress = "local", remotePort } = request.socket;
    const at = now();
    const waitMs = local ? 0 : guesses.waitMs(remoteAddress, at);
    if (waitMs > 0) {
      const headers = { "Retry-After": String(Math.ceil(waitMs / 1000)) };
      throw new Problem("slow-down", "too many wrong tokens came from this address", { headers });
    }
    const secret = /^Bearer +([\w-]{1,128})$/i.exec(authorization)?.[1];
    const token = secret === undefined ? undefined : authenticate(secret);
    if (token === undefined) {
      if (!local) guesses.failure(remoteAddress, at);
      throw unauthenticated("this token is not known, was revoked, or has expired");
    }
    const from = local ? "local" : `${remoteAddress}:${remotePort}`;
    return { name: `token:${token.name}`, role: token.role, from };
  };
}

/** As the command says: whoever may open the socket might say anything, and may do everything. */
function userOf({ headers }: IncomingMessage): string {
  const user = headers["sallyport-user"];
  return typeof user === "string" && /^[\w.-]{1,64}$/.test(user) ? user : "somebody";
}

function unauthenticated(detail: string): Problem {
  return new Problem("unauthenticated", detail, {
    headers: { "WWW-Authenticate": 'Bearer realm="sallyport"' },
  });
}
