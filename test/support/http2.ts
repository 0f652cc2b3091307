// HTTP/2 through an intercepted tunnel: with Node's own client, and frame by frame, as a hostile sandbox writes them.

import { once } from "node:events";
import {
  connect as connectHttp2,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { wire } from "./wire.ts";

export type TunnelOptions = {
  readonly authority: string;
  readonly trustAnchor: string;
  readonly headers?: string;
  readonly alpn?: readonly string[];
};

/** TLS inside a tunnel; rejects where the handshake fails. */
export async function tunnelTls(
  port: number,
  { authority, trustAnchor, headers = "", alpn = ["h2"] }: TunnelOptions,
): Promise<TLSSocket> {
  const outer = await wire(port);
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${headers}\r\n`);
  const answer = await outer.until((text) => text.includes("\r\n\r\n"));
  if (!answer.startsWith("HTTP/1.1 200")) throw new Error(`CONNECT was answered ${answer}`);
  outer.socket.removeAllListeners("data");
  const secured = connectTls({
    socket: outer.socket,
    servername: authority.replace(/:\d+$/, ""),
    ca: trustAnchor,
    ALPNProtocols: [...alpn],
  });
  const gone = once(outer.socket, "close").then(() => Promise.reject(new Error("the tunnel was closed")));
  gone.catch(() => {});
  await Promise.race([once(secured, "secureConnect"), gone]);
  secured.on("error", () => {});
  return secured;
}

export type Client = Disposable & { readonly session: ClientHttp2Session; readonly socket: TLSSocket };

export async function http2Client(port: number, options: TunnelOptions): Promise<Client> {
  const socket = await tunnelTls(port, options);
  const session = connectHttp2(`https://${options.authority}`, { createConnection: () => socket });
  session.on("error", () => {});
  await once(session, "remoteSettings");
  return {
    session,
    socket,
    [Symbol.dispose]: () => {
      session.destroy();
      socket.destroy();
    },
  };
}

export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders | undefined;
  /** Statuses of interim answers. */
  readonly interim: readonly number[];
  /** The code that the stream was reset with; 0: it ended in order. */
  readonly code: number;
};

export type Ask = Readonly<Record<string, string | readonly string[]>>;

export function ask(session: ClientHttp2Session, headers: Ask = {}, body?: string | Buffer): Promise<Answer> {
  const stream = session.request(
    { ":path": "/", ...headers },
    {
      endStream: body === undefined,
    },
  );
  if (body !== undefined) stream.end(body);
  return answerOf(stream);
}

export function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const interim: number[] = [];
  let headers: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  const chunks: Buffer[] = [];
  stream.on("headers", (given) => interim.push(Number(given[":status"])));
  stream.on("response", (given) => (headers = given));
  stream.on("trailers", (given) => (trailers = given));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", () => {});
  return new Promise((resolve) => {
    stream.on("close", () =>
      resolve({
        status: Number(headers[":status"] ?? 0),
        headers,
        body: Buffer.concat(chunks).toString("latin1"),
        trailers,
        interim,
        code: stream.rstCode ?? 0,
      }),
    );
  });
}
