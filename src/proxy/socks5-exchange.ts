// A SOCKS5 request as an exchange like any other: a CONNECT whose one answer is a reply code, after which the connection
// is closed or handed over.

import type { ProxyFault } from "../net/fault.ts";
import { first, type HeaderPairs } from "../net/headers.ts";
import type { ParsedRequest } from "../net/http1-head.ts";
import type { BodyLength, BodySink, BodySource, ResponseHead } from "../net/message.ts";
import { REASONS, type Reason } from "../net/reasons.ts";
import { SOCKS5_VERSION, type Socks5Request } from "../net/socks5.ts";
import type { ByteStream, DownstreamExchange } from "./downstream.ts";
import { lingerAndClose } from "./linger.ts";

export class Socks5Exchange implements DownstreamExchange {
  readonly command: Socks5Request["command"];
  readonly request: ParsedRequest;
  readonly body: BodySource = NO_BODY;
  octetsOut = 0;
  answered = false;
  onGone: ((fault: ProxyFault | undefined) => void) | undefined;
  onAnswered: ((cut: Reason | undefined) => void) | undefined;
  readonly #socket: ByteStream;
  readonly #onClose = (): void => {
    if (!this.answered) this.onGone?.(undefined);
  };

  constructor(socket: ByteStream, { command, authority }: Socks5Request, headers: HeaderPairs) {
    this.#socket = socket;
    this.command = command;
    this.request = {
      head: { method: "CONNECT", target: authority, version: "1.1", headers },
      length: { kind: "none" },
      host: undefined,
      keepAlive: false,
      expectContinue: false,
      upgrade: undefined,
    };
    socket.once("close", this.#onClose);
  }

  last(): void {}

  inform(): void {}

  respond(head: ResponseHead, _declared: BodyLength, begin: (sink: BodySink) => void): void {
    this.answered = true;
    this.#write(replyFor(first(head.headers, "sallyport-reason")));
    const end = (cut: Reason | undefined): void => {
      this.onAnswered?.(cut);
      lingerAndClose(this.#socket, STALL_MS);
    };
    // There is no room for words.
    begin({ write: () => true, end: () => end(undefined), abort: end, onDrain: undefined });
  }

  takeover(): ByteStream {
    this.answered = true;
    this.#socket.off("close", this.#onClose);
    this.#write(reply(SUCCEEDED));
    return this.#socket;
  }

  #write(octets: Buffer): void {
    this.octetsOut += octets.length;
    if (!this.#socket.destroyed) this.#socket.write(octets);
  }
}

/** The nearest that RFC 1928 §6 has to a reason. */
export function replyFor(reason: string | undefined): Buffer {
  if (reason === undefined || !Object.hasOwn(REASONS, reason)) return reply(GENERAL_FAILURE);
  const known = reason as Reason;
  return reply(
    REPLIES[known] ?? (NOT_ALLOWED.has(REASONS[known].kind) ? NOT_ALLOWED_BY_RULESET : GENERAL_FAILURE),
  );
}

/** Which of our addresses the origin is reached from is not told. */
function reply(code: number): Buffer {
  return Buffer.from([SOCKS5_VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}

const SUCCEEDED = 0x00;
const GENERAL_FAILURE = 0x01;
const NOT_ALLOWED_BY_RULESET = 0x02;
const NETWORK_UNREACHABLE = 0x03;
const HOST_UNREACHABLE = 0x04;
const REFUSED = 0x05;
const EXPIRED = 0x06;
const REPLIES: Partial<Record<Reason, number>> = {
  "budget-spent": NOT_ALLOWED_BY_RULESET,
  "command-not-allowed": 0x07,
  "dns-not-found": HOST_UNREACHABLE,
  "dns-failed": HOST_UNREACHABLE,
  "dns-timeout": HOST_UNREACHABLE,
  "upstream-unreachable": NETWORK_UNREACHABLE,
  "upstream-refused": REFUSED,
  "upstream-timeout": EXPIRED,
};
const NOT_ALLOWED: ReadonlySet<string> = new Set(["deny", "auth"]);
const NO_BODY: BodySource = {
  length: { kind: "none" },
  pipe: (sink) => sink.end([]),
  stop: () => {},
};
const STALL_MS = 10_000;
