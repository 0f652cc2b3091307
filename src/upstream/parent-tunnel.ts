// Asks a parent proxy for a tunnel (RFC 9110 §9.3.6), and reads its answer as strictly as an origin's. What comes behind a
// 2xx is the tunnel's; after any other answer the connection is closed, unread.

import type { Socket } from "node:net";
import { type Authority, formatAuthority } from "../net/authority.ts";
import { ProxyFault } from "../net/fault.ts";
import { HeadBuffer } from "../net/http1-head-buffer.ts";
import { type HeadLimits, parseResponse } from "../net/http1-head.ts";
import type { Secret } from "../net/secret.ts";
import { bounded } from "./dial.ts";

export type TunnelOptions = {
  /** A connection to the parent that said nothing yet. Destroyed on failure. */
  readonly socket: Socket;
  /** What the parent is to connect to: an address that was judged, or a name that it is to resolve. */
  readonly target: Authority;
  readonly credentials: Secret | undefined;
  readonly limits: HeadLimits;
  readonly ms: number;
  readonly signal: AbortSignal;
};

/** The parent answered with another status than 2xx. */
export class ParentRefusal extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`the parent proxy answered ${status}`);
    this.name = "ParentRefusal";
    this.status = status;
  }
}

export function openTunnel({ socket, ms, signal, ...asked }: TunnelOptions): Promise<Socket> {
  const stop = (): void => void socket.destroy();
  // An error between this listener and the next would end the process; 'close' follows every error.
  socket.on("error", () => {});
  return bounded<Socket>({ ms, signal, stop }, (done, fail) => {
    const read = answerReader(asked.limits);
    const onReadable = (): void => {
      try {
        for (let chunk = take(socket); chunk !== null; chunk = take(socket)) {
          const rest = read(chunk);
          if (rest === undefined) continue;
          socket.off("readable", onReadable).off("end", onGone).off("close", onGone);
          if (rest.length > 0) socket.unshift(rest);
          return done(socket);
        }
      } catch (error) {
        fail(error);
      }
    };
    const onGone = (): void => fail(new ProxyFault("parent-unreachable"));
    // Not 'data': what nobody listens to yet must stay in the connection.
    socket.on("readable", onReadable).once("end", onGone).once("close", onGone);
    socket.write(request(asked), "latin1");
  });
}

function request({ target, credentials }: Pick<TunnelOptions, "target" | "credentials">): string {
  const authority = formatAuthority(target);
  const fields = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
  if (credentials !== undefined) {
    const token = Buffer.from(credentials.reveal(), "utf8").toString("base64");
    fields.push(`Proxy-Authorization: Basic ${token}`);
  }
  return `${fields.join("\r\n")}\r\n\r\n`;
}

/** Gives what follows a 2xx head; `undefined` until it is there. Throws whatever else the answer is. */
function answerReader(limits: HeadLimits): (chunk: Buffer) => Buffer | undefined {
  const head = new HeadBuffer(Math.min(limits.headOctets, MAX_HEAD), "response");
  let informed = 0;
  return (chunk) => {
    let bytes = chunk;
    while (bytes.length > 0) {
      const whole = head.push(bytes);
      if (whole === undefined) return undefined;
      // A 2xx to CONNECT has no body, whatever its fields say.
      const { status } = parseResponse(whole.text, limits, "CONNECT").head;
      if (status >= 200 && status < 300) return whole.rest;
      if (status === 407) throw new ProxyFault("parent-auth-failed", new ParentRefusal(status));
      if (status >= 300) throw new ProxyFault("parent-refused", new ParentRefusal(status));
      if (status === 101 || ++informed > MAX_INFORMED) throw new ProxyFault("parent-malformed");
      bytes = whole.rest;
    }
    return undefined;
  };
}

function take(socket: Socket): Buffer | null {
  return socket.read() as Buffer | null;
}

/** A parent's answer to CONNECT is a few lines. */
const MAX_HEAD = 16 * 1024;
const MAX_INFORMED = 8;
