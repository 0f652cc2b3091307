// Asks origins over the upstream side alone, and keeps all that came of it.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAddress, type Address } from "../../src/net/address.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { ProxyFault } from "../../src/net/fault.ts";
import type { HeaderPairs } from "../../src/net/headers.ts";
import { DEFAULT_LIMITS, type Limits } from "../../src/net/limits.ts";
import type { BodyLength, BodySink, BodySource, ResponseHead } from "../../src/net/message.ts";
import type { Origin, Upstream, UpstreamConnection, UpstreamRequest } from "../../src/upstream/engine.ts";
import { createUpstream } from "../../src/upstream/pool.ts";
import type { Http2Mode } from "../../src/upstream/protocols.ts";
import { createTrust } from "../../src/upstream/trust.ts";
import type { Issued } from "../support/pki.ts";

export const LOOPBACK: readonly Address[] = [parseAddress("127.0.0.1")!];

export type TestUpstream = Upstream & {
  readonly counts: { opened: number; reused: number; closed: number };
};

export function upstreamOver(
  ca: Issued,
  { http2 = "auto", limits = {} }: { http2?: Http2Mode; limits?: Partial<Limits> } = {},
): TestUpstream {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-upstream-"));
  const file = join(directory, "ca.pem");
  writeFileSync(file, ca.cert);
  const trust = createTrust({ trust: [file] });
  rmSync(directory, { recursive: true });
  const counts = { opened: 0, reused: 0, closed: 0 };
  const upstream = createUpstream({
    resolver: { resolve: async () => LOOPBACK },
    trust,
    limits: { ...DEFAULT_LIMITS, ...limits },
    http2,
    on: {
      opened: () => void counts.opened++,
      reused: () => void counts.reused++,
      closed: () => void counts.closed++,
      took() {},
      handshake() {},
    },
  });
  return { ...upstream, counts };
}

export function originAt(port: number, by: Origin["by"] = "2", partition = "one"): Origin {
  return { scheme: "https", target: parseAuthority(`origin.test:${port}`, 443)!, partition, by };
}

export type Result = {
  status: number;
  headers: HeaderPairs;
  declared: BodyLength | undefined;
  body: string;
  trailers: HeaderPairs;
  informed: number[];
  /** Why no head came, or why the body was cut. */
  fault: string | undefined;
  cut: string | undefined;
};

export type Asked = {
  readonly method?: string;
  readonly target?: string;
  readonly headers?: HeaderPairs;
  readonly body?: BodySource;
  readonly trailers?: boolean;
};

export function requestOf(asked: Asked = {}): UpstreamRequest {
  return {
    method: asked.method ?? "GET",
    target: asked.target ?? "/",
    headers: ["Host", "origin.test", ...(asked.headers ?? [])],
    body: asked.body ?? nothing(),
    upgrade: undefined,
    trailers: asked.trailers ?? false,
  };
}

/** Over a connection from the pool, or a new one. */
export async function ask(upstream: Upstream, origin: Origin, asked: Asked = {}): Promise<Result> {
  try {
    const connection = upstream.reuse(origin) ?? (await upstream.connect(origin, LOOPBACK));
    return await askOver(connection, asked);
  } catch (fault) {
    return { ...untold(), fault: reasonOf(fault) };
  }
}

export async function askOver(connection: UpstreamConnection, asked: Asked = {}): Promise<Result> {
  const result = untold();
  try {
    const answer = await connection.send(requestOf(asked), ({ status }) => void result.informed.push(status));
    Object.assign(result, heard(answer.head), { declared: answer.declared });
    await new Promise<void>((resolve) => {
      answer.body.pipe({
        write: (chunk) => {
          result.body += chunk.toString("latin1");
          return true;
        },
        end: (trailers) => {
          result.trailers = trailers;
          resolve();
        },
        abort: (reason) => {
          result.cut = reason;
          resolve();
        },
        onDrain: undefined,
      });
    });
  } catch (fault) {
    result.fault = reasonOf(fault);
  }
  return result;
}

function heard({ status, headers }: ResponseHead): Pick<Result, "status" | "headers"> {
  return { status, headers };
}

export function reasonOf(fault: unknown): string {
  return fault instanceof ProxyFault ? fault.reason : `not a fault: ${String(fault)}`;
}

function untold(): Result {
  return {
    status: 0,
    headers: [],
    declared: undefined,
    body: "",
    trailers: [],
    informed: [],
    fault: undefined,
    cut: undefined,
  };
}

export function nothing(): BodySource {
  return { length: { kind: "none" }, pipe() {}, stop() {} };
}

export function known(text: string): BodySource {
  return {
    length: { kind: "known", octets: text.length },
    pipe(sink) {
      sink.write(Buffer.from(text));
      sink.end([]);
    },
    stop() {},
  };
}

/** A body that the test feeds. */
export class Feed implements BodySource {
  readonly length: BodyLength;
  stopped = false;
  sink: BodySink | undefined;
  #piped: () => void = () => {};
  readonly piped = new Promise<void>((resolve) => (this.#piped = resolve));

  constructor(length: BodyLength = { kind: "chunked" }) {
    this.length = length;
  }

  pipe(sink: BodySink): void {
    this.sink = sink;
    this.#piped();
  }

  stop(): void {
    this.stopped = true;
  }

  async write(text: string): Promise<boolean> {
    await this.piped;
    return this.sink?.write(Buffer.from(text)) ?? false;
  }

  async end(trailers: HeaderPairs = []): Promise<void> {
    await this.piped;
    this.sink?.end(trailers);
  }
}
