// One raw connection through the proxy: writes octets as they are and reads HTTP/1 answers as strictly as they come.

import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";

export type Answer = {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  /** First value of a field, or undefined. */
  field(name: string): string | undefined;
};

export class Wire implements AsyncDisposable {
  readonly socket: Socket | TLSSocket;
  /** Everything received and not yet taken. */
  held = "";
  /** Everything received. */
  all = "";
  closed = false;
  /** Ended by the peer in order: FIN or close_notify. */
  ended = false;
  #wake: (() => void)[] = [];

  constructor(socket: Socket | TLSSocket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      this.held += chunk.toString("latin1");
      this.all += chunk.toString("latin1");
      this.#tell();
    });
    socket.on("end", () => {
      this.ended = true;
      this.#tell();
    });
    socket.on("close", () => {
      this.closed = true;
      this.#tell();
    });
  }

  write(octets: string | Buffer): this {
    this.socket.write(typeof octets === "string" ? Buffer.from(octets, "latin1") : octets);
    return this;
  }

  /** Resolves once `enough` holds, or the connection ended. */
  async until(enough: () => boolean): Promise<void> {
    while (!enough() && !this.closed && !this.ended) {
      await new Promise<void>((resolve) => void this.#wake.push(resolve));
    }
  }

  /** Everything until the peer ends the connection. */
  async rest(): Promise<string> {
    await this.until(() => false);
    const rest = this.held;
    this.held = "";
    return rest;
  }

  async close(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => void this.#wake.push(resolve));
  }

  /** The next head, interim or final. */
  async head(): Promise<string> {
    await this.until(() => this.held.includes("\r\n\r\n"));
    const end = this.held.indexOf("\r\n\r\n");
    if (end === -1) throw new Error(`no answer, but ${JSON.stringify(this.held)}`);
    const head = this.held.slice(0, end);
    this.held = this.held.slice(end + 4);
    return head;
  }

  /** The next answer, body included; `method` of its request. */
  async answer(method = "GET"): Promise<Answer> {
    const head = await this.head();
    const status = Number(head.slice(9, 12));
    const field = (name: string): string | undefined =>
      new RegExp(`^${name}: *(.*)$`, "im").exec(head)?.[1]?.trim();
    const length = field("content-length");
    let body = "";
    if (method === "HEAD" || status < 200 || status === 204 || status === 304) {
      body = "";
    } else if (/^chunked$/i.test(field("transfer-encoding") ?? "")) {
      const whole = /^(?:[0-9a-f]+\r\n(?:[^]*?)\r\n)*?0\r\n(?:[^\r\n]+\r\n)*\r\n/;
      await this.until(() => whole.test(this.held));
      body = whole.exec(this.held)?.[0] ?? this.held;
      this.held = this.held.slice(body.length);
    } else if (length !== undefined) {
      await this.until(() => this.held.length >= Number(length));
      body = this.held.slice(0, Number(length));
      this.held = this.held.slice(body.length);
    } else if (method !== "CONNECT" || status !== 200) {
      body = await this.rest();
    }
    return { status, head, body, field };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy();
    await this.close();
  }

  #tell(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}

export async function dialPort(port: number): Promise<Wire> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return new Wire(socket);
}

export type TunnelOptions = {
  readonly port: number;
  readonly target: string;
  readonly headers?: string;
  readonly tls: ConnectionOptions;
};

/** CONNECT, then TLS; the answer where the CONNECT is refused, the error where the handshake fails. */
export async function openTunnel({
  port,
  target,
  headers = "",
  tls,
}: TunnelOptions): Promise<Wire | Answer | Error> {
  const outer = await dialPort(port);
  outer.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${headers}\r\n`);
  const answer = await outer.answer("CONNECT");
  if (answer.status !== 200) {
    outer.socket.destroy();
    return answer;
  }
  outer.socket.removeAllListeners("data");
  const secured = connectTls({ socket: outer.socket, ...tls });
  const failed = await new Promise<Error | undefined>((resolve) => {
    secured.once("secureConnect", () => resolve(undefined));
    secured.once("error", resolve);
    secured.once("close", () => resolve(new Error("closed")));
  });
  if (failed === undefined) return new Wire(secured);
  outer.socket.destroy();
  return failed;
}
