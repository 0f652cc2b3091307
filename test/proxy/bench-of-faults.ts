// The data path with parts that fail on demand: every operation that a request rests on is counted, and the one that is
// named does what the test says instead.

import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuditEntry, CompletionFields, DecisionFields, Subject } from "../../src/audit/types.ts";
import { createGuessLimiter } from "../../src/identity/guess-limiter.ts";
import { createIdentifier } from "../../src/identity/identify.ts";
import type { Address } from "../../src/net/address.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import { compile } from "../../src/policy/compile.ts";
import type { Policy } from "../../src/policy/types.ts";
import { listen, Occupancy, type Listener } from "../../src/proxy/listener.ts";
import { Live } from "../../src/proxy/live.ts";
import type { Parts, Published } from "../../src/proxy/parts.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { createLeafCache } from "../../src/tls/leaf-cache.ts";
import { openTrustAnchor } from "../../src/tls/trust-anchor.ts";
import type { Upstream, UpstreamConnection } from "../../src/upstream/engine.ts";
import { createUpstream } from "../../src/upstream/pool.ts";
import { createTrust } from "../../src/upstream/trust.ts";
import type { Issued } from "../support/pki.ts";
import { NOBODY_TO_ASK } from "../support/approvals.ts";
import { NO_BUDGETS } from "../support/budgets.ts";

/** `audit`, `resolve`, `connect`, `dial`, `send`, `mint`. */
export type Operation = string;
/** Called before each operation; what it throws or rejects with is how the operation fails. */
export type Hook = (operation: Operation) => Promise<void> | void;

export type Recorded = {
  readonly subject: Subject;
  readonly decisions: DecisionFields[];
  readonly completions: CompletionFields[];
};

export type FaultBench = AsyncDisposable & {
  readonly port: number;
  readonly trustAnchor: string;
  readonly entries: readonly Recorded[];
  readonly live: Live;
  readonly parts: Parts;
  hook: Hook;
  /** What a policy that allows nothing would publish. */
  readonly nothing: Published;
};

const policy = (allow: Policy["allow"], tcp: Policy["tcp"]): Policy => ({
  name: "default",
  presets: [],
  methods: "all",
  intents: [],
  mode: "enforce",
  allow,
  deny: [],
  tcp,
  splice: allow.length === 0 ? [] : [{ host: "spliced.test", source: "test" }],
  ask: "never",
  keepQueries: false,
  showRule: false,
});

/** `raw`: a port of raw.test that a tcp rule names. */
export async function faultBench(ca: Issued, raw?: number): Promise<FaultBench> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-faults-"));
  await writeFile(join(directory, "origin.pem"), ca.cert);
  const issuer = await openTrustAnchor({ directory });
  const limits = {
    ...DEFAULT_LIMITS,
    handshakeMs: 3_000,
    keepAliveMs: 3_000,
    headMs: 3_000,
    upstreamIdleMs: 100,
  };
  const entries: Recorded[] = [];
  const live = new Live();
  const state: { hook: Hook } = { hook: () => {} };
  const reach = (operation: Operation): Promise<void> => Promise.resolve(state.hook(operation));
  const upstream = hooked(
    createUpstream({
      resolver: { resolve: async () => ["127.0.0.1" as Address] },
      trust: createTrust({ trust: [join(directory, "origin.pem")] }),
      limits,
      http2: "never",
      on: { opened() {}, reused() {}, closed() {}, took() {}, handshake() {} },
    }),
    reach,
  );
  const rule = (host: string): Policy["allow"][number] => ({
    host,
    networks: ["127.0.0.0/8"],
    source: "test",
  });
  const publish = (allow: Policy["allow"]): Published => {
    const compiled = compile({
      generation: 1,
      policies: [
        policy(allow, allow.length > 0 && raw !== undefined ? [{ ...rule("raw.test"), ports: [raw] }] : []),
      ],
    });
    if ("problems" in compiled) throw new Error(JSON.stringify(compiled.problems));
    return {
      snapshot: compiled.snapshot,
      generation: 1,
      revision: 1,
      tls: undefined,
      identifier: createIdentifier({ sandboxes: [], anonymous: "default" }),
      upstream,
    };
  };
  const published = publish([rule("origin.test"), rule("spliced.test")]);
  const ticketKeys = randomBytes(48);
  const leaves = createLeafCache({
    issuer,
    max: 10,
    mintsPerSecond: 1_000,
    mintBurst: 1_000,
    now: Date.now,
    ticketKeys: () => ticketKeys,
    on: { minted() {}, hit() {} },
  });
  const parts: Parts = {
    published: () => published,
    audit: {
      begin: (subject) => entryOf(entries, subject, reach),
      note() {},
      noted: async () => {},
      healthy: true,
    },
    approvals: NOBODY_TO_ASK,
    purses: NO_BUDGETS,
    guesses: createGuessLimiter(),
    leaves: {
      // A promise, as where another process mints.
      contextFor: async (host, asker) => {
        await reach("mint");
        return leaves.contextFor(host, asker);
      },
    },
    metrics: createMetrics({ version: "test" }),
    http2: "never",
    log: createLog({
      level: "silent",
      format: "json",
      stream: { isTTY: false, write: () => true, close: async () => {} },
      paths: true,
      env: {},
      onDrop() {},
    }),
    limits,
    now: Date.now,
    own: () => [],
    pseudonym: "sallyport-test",
    pages: { trustAnchor: issuer.anchorPem, doctor: "" },
    live,
    balancers: [],
  };
  const listener: Listener = await listen(parts, {
    at: { host: "127.0.0.1", port: 0 },
    occupancy: new Occupancy(),
  });
  return {
    port: listener.port,
    trustAnchor: issuer.anchorPem,
    entries,
    live,
    parts,
    nothing: publish([]),
    get hook() {
      return state.hook;
    },
    set hook(next) {
      state.hook = next;
    },
    async [Symbol.asyncDispose]() {
      await listener.close();
      upstream.close();
      await rm(directory, { recursive: true });
    },
  };
}

function hooked(upstream: Upstream, reach: (operation: Operation) => Promise<void>): Upstream {
  const sending = (connection: UpstreamConnection): UpstreamConnection => {
    const { send } = connection;
    connection.send = async (request, inform) => {
      await reach("send");
      return send.call(connection, request, inform);
    };
    return connection;
  };
  return {
    ...upstream,
    resolve: async (host, partition) => {
      await reach("resolve");
      return upstream.resolve(host, partition);
    },
    connect: async (origin, addresses) => {
      await reach("connect");
      return sending(await upstream.connect(origin, addresses));
    },
    dial: async (target, addresses) => {
      await reach("dial");
      return upstream.dial(target, addresses);
    },
  };
}

/** Keeps what the proxy tells the log, as the log itself would count it. */
function entryOf(
  entries: Recorded[],
  subject: Subject,
  reach: (operation: Operation) => Promise<void>,
): AuditEntry {
  const recorded: Recorded = { subject, decisions: [], completions: [] };
  entries.push(recorded);
  return {
    id: `id-${entries.length}`,
    async decide(fields) {
      await reach("audit");
      recorded.decisions.push(fields);
    },
    complete: (fields) => void recorded.completions.push(fields),
  };
}
