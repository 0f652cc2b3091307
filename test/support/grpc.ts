// gRPC over HTTP/2 as its messages are on the wire: a service of the four kinds of calls, and a client that reads one by one.

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import type { Issued } from "./pki.ts";
import { http2Server } from "./http2-server.ts";

/** Length-Prefixed-Message, uncompressed. */
export function message(text: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(Buffer.byteLength(text), 1);
  return Buffer.concat([head, Buffer.from(text)]);
}

/** Messages as they come, whatever the pieces. */
export class Messages {
  readonly got: string[] = [];
  ended = false;
  #held = Buffer.alloc(0);
  #wake: (() => void)[] = [];

  constructor(stream: ClientHttp2Stream | ServerHttp2Stream, onMessage: (text: string) => void = () => {}) {
    stream.on("data", (chunk: Buffer) => {
      this.#held = Buffer.concat([this.#held, chunk]);
      while (this.#held.length >= 5 && this.#held.length >= 5 + this.#held.readUInt32BE(1)) {
        const end = 5 + this.#held.readUInt32BE(1);
        const text = this.#held.subarray(5, end).toString();
        this.#held = this.#held.subarray(end);
        this.got.push(text);
        onMessage(text);
      }
      this.#tell();
    });
    const over = (): void => {
      this.ended = true;
      this.#tell();
    };
    stream.on("end", over);
    stream.on("close", over);
  }

  async until(enough: () => boolean): Promise<void> {
    while (!enough()) {
      if (this.ended) throw new Error(`it ended after ${JSON.stringify(this.got)}`);
      await new Promise<void>((resolve) => void this.#wake.push(resolve));
    }
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

export type Call = {
  readonly stream: ClientHttp2Stream;
  readonly messages: Messages;
  readonly head: Promise<IncomingHttpHeaders>;
  /** Resolves when the stream is closed. */
  readonly end: Promise<{ readonly code: number; readonly trailers: IncomingHttpHeaders | undefined }>;
};

export function call(session: ClientHttp2Session, method: string): Call {
  const stream = session.request({
    ":method": "POST",
    ":path": `/shop.Orders/${method}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  let trailers: IncomingHttpHeaders | undefined;
  stream.on("error", () => {});
  stream.on("trailers", (given) => (trailers = given));
  return {
    stream,
    messages: new Messages(stream),
    head: new Promise((resolve) => stream.once("response", resolve)),
    end: new Promise((resolve) =>
      stream.once("close", () => resolve({ code: stream.rstCode ?? 0, trailers })),
    ),
  };
}

export type Service = AsyncDisposable & {
  readonly port: number;
  /** What each call said, in the order of arrival. */
  readonly calls: readonly {
    readonly path: string;
    readonly messages: Messages;
    readonly stream: ServerHttp2Stream;
  }[];
};

/** `Unary`, `Collect`, `Tick` (the first; more are written by the test), `Echo`, `Fail`, `Hang` (never answers). It speaks HTTP/2 alone. */
export async function grpcService(certificate: Issued, address = "127.0.0.1"): Promise<Service> {
  const calls: { path: string; messages: Messages; stream: ServerHttp2Stream }[] = [];
  const { server, port, [Symbol.asyncDispose]: end } = await http2Server(certificate, {}, { address });
  server.on("stream", (stream, headers) => {
    calls.push(serve(stream, String(headers[":path"])));
  });
  return { port, calls, [Symbol.asyncDispose]: end };
}

function serve(stream: ServerHttp2Stream, path: string) {
  const method = path.split("/").at(-1);
  const head = { ":status": 200, "content-type": "application/grpc" };
  if (method === "Fail") {
    stream.respond({ ...head, "grpc-status": "5", "grpc-message": "no such order" }, { endStream: true });
    return { path, stream, messages: new Messages(stream) };
  }
  if (method === "Hang") return { path, stream, messages: new Messages(stream) };
  stream.respond(head, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-sum": "7" }));
  const echo = method === "Echo";
  const messages = new Messages(stream, (text) => {
    if (echo) stream.write(message(`<${text}>`));
  });
  if (method === "Tick") stream.write(message("tick 1"));
  else
    stream.once("end", () => {
      if (!echo) stream.write(message(messages.got.join("+")));
      stream.end();
    });
  return { path, stream, messages };
}
