// SOCKS5 (RFC 1928) with user and password as a sandbox's credentials (RFC 1929). Its CONNECT is judged, recorded and
// carried as HTTP's is; a refusal cannot say why in SOCKS, so its record does.

import { performance } from "node:perf_hooks";
import type { Kind } from "../audit/types.ts";
import type { HeaderPairs } from "../net/headers.ts";
import type { Reason } from "../net/reasons.ts";
import { parseRequestTarget } from "../net/request-target.ts";
import {
  NO_CREDENTIALS,
  readGreeting,
  readSocks5Request,
  readUserPassword,
  SOCKS5_VERSION,
  USER_PASSWORD,
  type UserPassword,
} from "../net/socks5.ts";
import type { Connection } from "./connection.ts";
import { Course } from "./course.ts";
import type { ByteStream } from "./downstream.ts";
import { Ledger } from "./ledger.ts";
import { lingerAndClose } from "./linger.ts";
import { readOpening } from "./opening.ts";
import type { Parts } from "./parts.ts";
import { serve, unforeseen } from "./serve.ts";
import { replyFor, Socks5Exchange } from "./socks5-exchange.ts";
import { tunnel } from "./tunnel.ts";

type Opening = {
  readonly parts: Parts;
  readonly connection: Connection;
  readonly socket: ByteStream;
  /** When the request must be whole, by performance.now(). */
  readonly until: number;
};

/** `transport`: the TCP connection that `socket` is, or runs over. */
export function socks5(
  parts: Parts,
  connection: Connection,
  socket: ByteStream,
  transport: ByteStream,
): void {
  let asked = false;
  const held = {
    drain: () => {
      if (!asked) socket.destroySoon();
    },
    destroy: () => void socket.destroy(),
  };
  socket.setTimeout(0);
  socket.once("close", () => parts.live.close(held));
  parts.live.open(held);
  const until = performance.now() + parts.limits.headMs;
  const converse = async (): Promise<void> => {
    const down = await readExchange({ parts, connection, socket, until });
    if (down === undefined) return;
    asked = true;
    if (down.command !== "connect") return refuseCommand(parts, connection, down);
    await tunnel({
      parts,
      connection,
      down,
      plain: true,
      serve: (inner, inside) => serve(parts, inner, inside, transport),
    });
  };
  converse().catch(unforeseen(parts, socket));
}

/** Credentials, then the request; what cannot go on is recorded, told and closed. */
async function readExchange(opening: Opening): Promise<Socks5Exchange | undefined> {
  const { socket, until } = opening;
  const headers = await readCredentials(opening);
  if (headers === undefined) return undefined;
  const request = await readOpening(socket, until, readSocks5Request);
  if (request.state === "complete") return new Socks5Exchange(socket, request.message, headers);
  return refuseOpening(opening, { ...malformed(request.state), answer: replyFor("socks-malformed") });
}

/** As a request's fields would say them, so that there is one way to check them; `undefined` where it ends here. */
async function readCredentials(opening: Opening): Promise<HeaderPairs | undefined> {
  const { parts, connection, socket, until } = opening;
  const greeting = await readOpening(socket, until, readGreeting);
  if (greeting.state !== "complete")
    return refuseOpening(opening, { ...malformed(greeting.state), answer: NO_METHOD });
  const { methods } = greeting.message;
  if (!methods.has(USER_PASSWORD)) {
    const who = connection.identify(parts, parts.published(), []);
    if (who.ok && methods.has(NO_CREDENTIALS)) {
      socket.write(Buffer.from([SOCKS5_VERSION, NO_CREDENTIALS]));
      return [];
    }
    const reason = who.ok ? "credentials-missing" : who.reason;
    return refuseOpening(opening, { kind: "connect", reason, answer: NO_METHOD });
  }
  socket.write(Buffer.from([SOCKS5_VERSION, USER_PASSWORD]));
  const given = await readOpening(socket, until, readUserPassword);
  if (given.state !== "complete")
    return refuseOpening(opening, { ...malformed(given.state), answer: CREDENTIALS_REFUSED });
  const headers = ["Proxy-Authorization", basic(given.message)];
  const who = connection.identify(parts, parts.published(), headers);
  if (!who.ok)
    return refuseOpening(opening, { kind: "connect", reason: who.reason, answer: CREDENTIALS_REFUSED });
  socket.write(CREDENTIALS_TAKEN);
  return headers;
}

/** A user with a colon would be read as another, with a longer password: it is left out, and so nobody's. */
function basic({ user, password }: UserPassword): string {
  if (user.includes(":")) return "Basic";
  return `Basic ${Buffer.from(`${user}:${password}`, "latin1").toString("base64")}`;
}

function malformed(state: "malformed" | "late" | "closed"): {
  readonly kind: Kind;
  readonly reason: Reason;
} {
  return { kind: "malformed", reason: state === "late" ? "request-timeout" : "socks-malformed" };
}

/** Before there is an exchange: a record of its own, then what SOCKS has to say no. */
async function refuseOpening(
  { parts, connection, socket }: Opening,
  refused: { readonly kind: Kind; readonly reason: Reason; readonly answer: Buffer },
): Promise<undefined> {
  const { kind, reason, answer } = refused;
  const connect = kind === "connect";
  const ledger = new Ledger(parts, connect ? "tunnel" : "request");
  const subject = { ...connection.subject(parts.published(), undefined), kind };
  try {
    await ledger.decideAgainst(connect ? { ...subject, method: "CONNECT" } : subject, {
      reason,
      stage: connect ? "connect" : undefined,
    });
  } catch {
    // It is refused either way.
  }
  if (!socket.destroyed) socket.write(answer);
  lingerAndClose(socket, parts.limits.bodyIdleMs);
  ledger.complete({ reason, bytesUp: 0, bytesDown: answer.length });
}

/** BIND and UDP ASSOCIATE would open what nobody could judge. */
async function refuseCommand(parts: Parts, connection: Connection, down: Socks5Exchange): Promise<void> {
  const course = new Course({ parts, connection, down, kind: "connect" });
  const asked = parseRequestTarget("CONNECT", down.request.head.target);
  const target = asked?.form === "authority" ? asked.authority : undefined;
  await course.refuse({ reason: "command-not-allowed", stage: "connect", target });
}

const NO_METHOD = Buffer.from([SOCKS5_VERSION, 0xff]);
const CREDENTIALS_TAKEN = Buffer.from([1, 0]);
const CREDENTIALS_REFUSED = Buffer.from([1, 1]);
