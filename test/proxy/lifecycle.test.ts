// Whatever happens to an exchange at whichever of its stages: one decision, one completion, nothing sent that was not
// recorded, nothing left open. The sandbox leaves, the policy changes, the stage fails, the log cannot be written.

import { EventEmitter, once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Audit, CompletionFields, DecisionFields } from "../../src/audit/types.ts";
import { createGuessLimiter } from "../../src/identity/guess-limiter.ts";
import { createIdentifier } from "../../src/identity/identify.ts";
import type { Address } from "../../src/net/address.ts";
import { ProxyFault } from "../../src/net/fault.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import { compile } from "../../src/policy/compile.ts";
import type { Policy } from "../../src/policy/types.ts";
import { Connection } from "../../src/proxy/connection.ts";
import { Live } from "../../src/proxy/live.ts";
import type { Parts, Published } from "../../src/proxy/parts.ts";
import { serve } from "../../src/proxy/serve.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { Upstream, UpstreamConnection } from "../../src/upstream/engine.ts";
import { dialPort, type Wire } from "./wire.ts";
import { NOBODY_TO_ASK } from "../support/approvals.ts";
import { NO_BUDGETS } from "../support/budgets.ts";

const STAGES = ["resolve", "decide", "connect", "send"] as const;
type Stage = (typeof STAGES)[number];

/** Holds what passes at one stage until it is told how to go on. */
class Gate {
  readonly #at: Stage;
  readonly passed: Stage[] = [];
  readonly #events = new EventEmitter();
  readonly entered = once(this.#events, "entered");
  #go: () => void = () => {};

  constructor(at: Stage) {
    this.#at = at;
  }

  async pass(stage: Stage): Promise<void> {
    this.passed.push(stage);
    if (stage !== this.#at) return;
    await new Promise<void>((resolve, reject) => {
      this.#go = () => (this.fault === undefined ? resolve() : reject(this.fault));
      this.#events.emit("entered");
    });
  }

  fault: ProxyFault | undefined;

  release(): void {
    this.#go();
  }
}

function policy(hosts: readonly string[]): Policy {
  return {
    name: "default",
    presets: [],
    methods: "all",
    intents: [],
    mode: "enforce",
    allow: hosts.map((host) => ({ host, source: "test" })),
    deny: [],
    splice: [],
    tcp: [],
    ask: "never",
    keepQueries: false,
    showRule: false,
  };
}

type Log = { decisions: DecisionFields[]; completions: CompletionFields[] };

function fakeAudit(gate: Gate, log: Log): Audit {
  let count = 0;
  return {
    begin: () => ({
      id: `id-${++count}`,
      async decide(fields) {
        await gate.pass("decide");
        log.decisions.push(fields);
      },
      complete: (fields) => void log.completions.push(fields),
    }),
    note: () => {},
    noted: async () => {},
    healthy: true,
  };
}

class FakeConnection implements UpstreamConnection {
  readonly address = "93.184.215.14" as Address;
  readonly reused: boolean;
  readonly unprocessed = false;
  readonly #gate: Gate;
  #reject: ((fault: ProxyFault) => void) | undefined;
  octetsOut = 0;
  answering = false;
  aborted = false;
  sent = 0;

  constructor(gate: Gate, reused: boolean) {
    this.#gate = gate;
    this.reused = reused;
  }

  async send(): Promise<never> {
    if (this.aborted) throw new ProxyFault("upstream-reset");
    this.sent++;
    this.octetsOut = 100;
    return new Promise((_resolve, reject) => {
      this.#reject = reject;
      this.#gate.pass("send").catch(reject);
    });
  }

  abort(): void {
    this.aborted = true;
    this.#reject?.(new ProxyFault("upstream-reset"));
  }
}

let server: Server;
let live: Live;
let log: Log;
let connections: FakeConnection[];
let wire: Wire;
let downstream: Socket;
let change: (hosts: readonly string[]) => void;

async function start(gate: Gate, { idle = false } = {}): Promise<void> {
  const reusable = idle ? new FakeConnection(gate, true) : undefined;
  connections = reusable === undefined ? [] : [reusable];
  const upstream: Upstream = {
    async resolve() {
      await gate.pass("resolve");
      return ["93.184.215.14" as Address];
    },
    through: () => undefined,
    drop: () => {},
    reuse: () => reusable,
    async connect() {
      await gate.pass("connect");
      const made = new FakeConnection(gate, false);
      connections.push(made);
      return made;
    },
    dial: () => Promise.reject(new ProxyFault("upstream-refused")),
    close: () => {},
  };
  const publish = (hosts: readonly string[], generation: number): Published => {
    const compiled = compile({ generation, policies: [policy(hosts)] });
    if ("problems" in compiled) throw new Error("policy");
    const identifier = createIdentifier({ sandboxes: [], anonymous: "default" });
    return {
      snapshot: compiled.snapshot,
      generation,
      revision: generation,
      tls: undefined,
      identifier,
      upstream,
    };
  };
  let published = publish(["origin.test"], 1);
  change = (hosts) => {
    published = publish(hosts, published.generation + 1);
    live.rejudge(published);
  };
  const silent = (): void => {};
  const parts: Parts = {
    published: () => published,
    audit: fakeAudit(gate, log),
    approvals: NOBODY_TO_ASK,
    purses: NO_BUDGETS,
    guesses: createGuessLimiter(),
    leaves: {
      contextFor: () => {
        throw new ProxyFault("mint-limit");
      },
    },
    metrics: createMetrics({ version: "0" }),
    log: { decision: silent, info: silent, warn: silent, error: silent, close: async () => {} } as never,
    limits: DEFAULT_LIMITS,
    http2: "never",
    now: Date.now,
    own: () => [],
    pseudonym: "sallyport-test",
    pages: { trustAnchor: "", doctor: "" },
    live,
    balancers: [],
  };
  server.on("connection", (socket) => {
    downstream = socket;
    serve(parts, new Connection("1", { address: "127.0.0.1", port: 1 }), socket);
  });
  wire = await dialPort((server.address() as AddressInfo).port);
  wire.write("GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n");
}

beforeEach(async () => {
  live = new Live();
  log = { decisions: [], completions: [] };
  server = createServer({ allowHalfOpen: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});

afterEach(async () => {
  await wire[Symbol.asyncDispose]();
  await live.drain(10);
  server.close();
});

const until = async (holds: () => boolean): Promise<void> => {
  for (let turns = 0; turns < 500 && !holds(); turns++) await new Promise((r) => setTimeout(r, 2));
  expect(holds()).toBe(true);
};

/** Nothing was sent by a stage that comes after the one it ended at. */
function expectNothingBehind(stage: Stage): void {
  const sent = connections.reduce((sum, connection) => sum + connection.sent, 0);
  expect(sent).toBe(stage === "send" ? 1 : 0);
  expect(connections.filter(({ aborted }) => !aborted)).toEqual([]);
}

describe.each(STAGES)("at %s", (stage) => {
  test("the sandbox leaves", async () => {
    const gate = new Gate(stage);
    await start(gate);
    await gate.entered;
    const closed = new Promise((resolve) => void downstream.once("close", resolve));
    wire.socket.resetAndDestroy();
    await closed;
    gate.release();
    await until(() => log.completions.length > 0);
    await new Promise(setImmediate);
    expect(log.decisions).toHaveLength(1);
    expect(log.completions).toHaveLength(1);
    expect(log.completions[0]).toMatchObject({ outcome: "aborted" });
    expectNothingBehind(stage);
  });

  test("the policy changes", async () => {
    const gate = new Gate(stage);
    await start(gate);
    await gate.entered;
    change([]);
    gate.release();
    const answer = await wire.answer();
    expect(answer.field("sallyport-reason")).toBe("policy-changed");
    expect(log.decisions).toHaveLength(1);
    expect(log.completions).toMatchObject([{ outcome: "refused", reason: "policy-changed", status: 403 }]);
    expectNothingBehind(stage);
  });

  test("the policy changes, but still allows it", async () => {
    const gate = new Gate(stage);
    await start(gate);
    await gate.entered;
    change(["origin.test", "other.test"]);
    gate.release();
    await until(() => gate.passed.includes("send"));
    expect(log.decisions).toMatchObject([{ verdict: "allow" }]);
  });

  test("it fails", async () => {
    const gate = new Gate(stage);
    const reason = stage === "decide" ? "audit-unavailable" : "upstream-timeout";
    gate.fault = new ProxyFault(reason);
    await start(gate);
    await gate.entered;
    gate.release();
    expect((await wire.answer()).field("sallyport-reason")).toBe(reason);
    // What could not be written is not there; everything else is, twice.
    expect(log.decisions).toHaveLength(stage === "decide" ? 0 : 1);
    expect(log.completions).toHaveLength(stage === "decide" ? 0 : 1);
    expectNothingBehind(stage);
  });

  test("it fails and the sandbox has left", async () => {
    const gate = new Gate(stage);
    gate.fault = new ProxyFault(stage === "decide" ? "audit-unavailable" : "upstream-timeout");
    await start(gate);
    await gate.entered;
    const closed = new Promise((resolve) => void downstream.once("close", resolve));
    wire.socket.resetAndDestroy();
    await closed;
    gate.release();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(log.decisions).toHaveLength(stage === "decide" ? 0 : 1);
    expect(log.completions).toHaveLength(stage === "decide" ? 0 : 1);
    expectNothingBehind(stage);
  });

  test("the proxy stops", async () => {
    const gate = new Gate(stage);
    await start(gate);
    await gate.entered;
    const drained = live.drain(20);
    await drained;
    gate.release();
    await until(() => log.completions.length > 0);
    expect(log.decisions).toHaveLength(1);
    expect(log.completions).toHaveLength(1);
    expectNothingBehind(stage);
  });
});

test.each(["decide", "send"] as const)(
  "a connection from the pool is not lost where the sandbox leaves at %s",
  async (stage) => {
    const gate = new Gate(stage);
    await start(gate, { idle: true });
    await gate.entered;
    const closed = new Promise((resolve) => void downstream.once("close", resolve));
    wire.socket.resetAndDestroy();
    await closed;
    gate.release();
    await until(() => log.completions.length > 0);
    expect(connections).toHaveLength(1);
    expect(connections[0]?.aborted).toBe(true);
  },
);
