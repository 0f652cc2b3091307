// Which protocol a request goes on by, where the operator leaves it to how it came; and that what goes on by HTTP/2 is recorded
// like any other.

import { createSecureServer, type Http2SecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Audit, CompletionFields, DecisionFields } from "../../src/audit/types.ts";
import { createGuessLimiter } from "../../src/identity/guess-limiter.ts";
import { createIdentifier } from "../../src/identity/identify.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import type { ParsedRequest } from "../../src/net/http1-head.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import type { RequestHead, ResponseHead } from "../../src/net/message.ts";
import { compile } from "../../src/policy/compile.ts";
import { Connection } from "../../src/proxy/connection.ts";
import type { DownstreamExchange } from "../../src/proxy/downstream.ts";
import { exchange } from "../../src/proxy/exchange.ts";
import { Live } from "../../src/proxy/live.ts";
import type { Parts } from "../../src/proxy/parts.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { createCa } from "../support/pki.ts";
import { type TestUpstream, upstreamOver } from "../upstream/asking.ts";
import { NOBODY_TO_ASK } from "../support/approvals.ts";
import { NO_BUDGETS } from "../support/budgets.ts";

const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
let server: Http2SecureServer;
let upstream: TestUpstream;
let seen: string[][] = [];

beforeAll(async () => {
  server = createSecureServer({ cert: certificate.chain, key: certificate.key, allowHTTP1: true });
  server.on("request", (request, response) => {
    seen.push([request.httpVersion, ...request.rawHeaders]);
    response.end("ok");
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  upstream = upstreamOver(ca, { http2: "auto" });
});
afterAll(async () => {
  upstream.close();
  await new Promise((resolve) => server.close(resolve));
});

type Told = { decisions: DecisionFields[]; completions: CompletionFields[] };

function partsFor(told: Told): Parts {
  const compiled = compile({
    generation: 1,
    policies: [
      {
        name: "default",
        presets: [],
        methods: "all",
        intents: [],
        mode: "enforce",
        allow: [{ host: "origin.test", networks: ["127.0.0.0/8"], source: "test" }],
        deny: [],
        splice: [],
        tcp: [],
        ask: "never",
        keepQueries: false,
        showRule: false,
      },
    ],
  });
  if ("problems" in compiled) throw new Error("policy");
  const { snapshot } = compiled;
  const identifier = createIdentifier({ sandboxes: [], anonymous: "default" });
  const audit: Audit = {
    begin: () => ({
      id: "id",
      decide: async (fields) => void told.decisions.push(fields),
      complete: (fields) => void told.completions.push(fields),
    }),
    note: () => {},
    noted: async () => {},
    healthy: true,
  };
  const silent = (): void => {};
  return {
    published: () => ({ snapshot, generation: 1, revision: 1, identifier, upstream, tls: undefined }),
    audit,
    approvals: NOBODY_TO_ASK,
    purses: NO_BUDGETS,
    guesses: createGuessLimiter(),
    leaves: { contextFor: () => expect.fail("no leaf is needed") },
    metrics: createMetrics({ version: "0" }),
    log: { decision: silent, info: silent, warn: silent, error: silent, close: async () => {} } as never,
    limits: DEFAULT_LIMITS,
    http2: "auto",
    balancers: [],
    now: Date.now,
    own: () => [],
    pseudonym: "sallyport-test",
    pages: { trustAnchor: "", doctor: "" },
    live: new Live(),
  };
}

/** A request inside a tunnel, as an engine of that version would hand it over; resolves with the answer. */
function ask(version: RequestHead["version"], told: Told): Promise<{ head: ResponseHead; body: string }> {
  const { port } = server.address() as AddressInfo;
  const target = parseAuthority(`origin.test:${port}`, 443)!;
  const host = `origin.test:${port}`;
  const peer = { address: "127.0.0.1", port: 1 };
  const connection = new Connection("1", peer, {
    tunnel: { target, named: host, scheme: "https", id: "tunnel", headers: [] },
  });
  const request: ParsedRequest = {
    head: { method: "GET", target: "/", version, headers: ["Host", host, "te", "trailers"] },
    length: { kind: "none" },
    host,
    keepAlive: true,
    expectContinue: false,
    upgrade: undefined,
  };
  return new Promise((resolve, reject) => {
    const down: DownstreamExchange = {
      request,
      body: { length: { kind: "none" }, pipe() {}, stop() {} },
      octetsOut: 0,
      answered: false,
      onGone: undefined,
      onAnswered: undefined,
      last() {},
      inform() {},
      respond(head, _declared, begin) {
        let body = "";
        begin({
          write: (chunk) => ((body += chunk.toString()), true),
          end: () => (down.onAnswered?.(undefined), resolve({ head, body })),
          abort: (reason) => reject(new Error(reason)),
          onDrain: undefined,
        });
      },
      takeover: () => expect.fail("nothing is upgraded"),
    };
    exchange(partsFor(told), connection, down).catch(reject);
  });
}

test.each([
  ["1.1", "1.1"],
  ["2", "2.0"],
] as const)("what came by HTTP/%s goes on by it", async (version, spoken) => {
  seen = [];
  const told: Told = { decisions: [], completions: [] };
  const answer = await ask(version, told);
  expect(answer).toMatchObject({ head: { status: 200 }, body: "ok" });
  expect(seen.map(([one]) => one)).toEqual([spoken]);
  expect(seen[0]?.includes("te")).toBe(version === "2");
  expect(told.decisions).toMatchObject([{ verdict: "allow" }]);
  expect(told.completions).toMatchObject([{ outcome: "completed", status: 200, address: "127.0.0.1" }]);
  expect(told.completions[0]?.bytesUp).toBeGreaterThan(50);
});
