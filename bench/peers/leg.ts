// The upstream leg of an intercepted request alone: our client asks the origin over TLS from 32 connections, with nothing else
// around it. For each number of seconds on standard input it works for so long and says how many answers it got.
// Arguments: port, the CA's file.

import { createInterface } from "node:readline";
import type { Address } from "../../src/net/address.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import type { BodySink, BodySource } from "../../src/net/message.ts";
import type { Origin } from "../../src/upstream/engine.ts";
import { createUpstream } from "../../src/upstream/pool.ts";
import { createResolver } from "../../src/upstream/resolve.ts";
import { createTrust } from "../../src/upstream/trust.ts";

const [port = "", ca = ""] = process.argv.slice(2);
const quiet = { opened() {}, reused() {}, closed() {}, took() {}, handshake() {} };
const options = {
  resolver: createResolver({ timeoutMs: 1000 }),
  trust: createTrust({ trust: [ca] }),
  limits: DEFAULT_LIMITS,
  http2: "never" as const,
  on: quiet,
};
const upstream = createUpstream(options);
const target = parseAuthority(`origin.test:${port}`, 443);
if (target === undefined) throw new Error(`not a port: ${port}`);
const at: Origin = { scheme: "https", target, partition: "", by: "1.1" };
const headers = ["Host", `origin.test:${port}`, "User-Agent", "bench", "Accept", "*/*"];
const none: BodySource = { length: { kind: "none" }, pipe() {}, stop() {} };

for await (const line of createInterface({ input: process.stdin })) {
  const began = performance.now();
  const until = began + Number(line) * 1000;
  let requests = 0;
  const client = async (): Promise<void> => {
    while (performance.now() < until) {
      await ask();
      requests++;
    }
  };
  await Promise.all(Array.from({ length: 32 }, client));
  console.log(JSON.stringify({ requests, seconds: (performance.now() - began) / 1000 }));
}

async function ask(): Promise<void> {
  const connection = upstream.reuse(at) ?? (await upstream.connect(at, ["127.0.0.1" as Address]));
  const answer = await connection.send(
    { method: "GET", target: "/b/1024", headers, body: none, upgrade: undefined, trailers: false },
    () => {},
  );
  await new Promise<void>((resolve) => {
    const sink: BodySink = {
      write: () => true,
      end: () => resolve(),
      abort: () => resolve(),
      onDrain: undefined,
    };
    answer.body.pipe(sink);
  });
}
