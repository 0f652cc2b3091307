// What a decision costs, by the number of patterns: `node bench/decide.ts [--json]`. Reports, never gates.

import { cpus } from "node:os";

import { parseAuthority } from "../src/net/authority.ts";
import { parsePath } from "../src/net/request-target.ts";
import { compile, type Snapshot } from "../src/policy/compile.ts";
import { decide } from "../src/policy/decide.ts";
import type { Policy, RequestFacts, Rule } from "../src/policy/types.ts";

type Row = {
  readonly patterns: number;
  readonly kind: "preset" | "rules";
  readonly compileMs: number;
  /** Of a verdict on a host that was just asked about, and on one of so many that it is found anew. */
  readonly known: Record<string, number>;
  readonly anew: Record<string, number>;
};

const SIZES = [10, 1_000, 100_000];
const ROUNDS = 5;
const CALLS = 200_000;
/** More than the index remembers. */
const MANY = 1_000;

const rows = SIZES.flatMap((size) => [measure(size, "preset"), measure(size, "rules")]);
const machine = `${cpus()[0]?.model ?? "unknown"}, Node ${process.version}`;

if (process.argv.includes("--json")) console.log(JSON.stringify({ machine, rows }, undefined, 2));
else {
  console.log(machine);
  for (const { patterns, kind, compileMs, known, anew } of rows) {
    const cells = Object.entries(known).map(([name, ns]) => `${name} ${ns} ns (${anew[name] ?? "-"})`);
    console.log(`${String(patterns).padStart(7)} ${kind}: compiled in ${compileMs} ms; ${cells.join(", ")}`);
  }
}

function measure(patterns: number, kind: Row["kind"]): Row {
  const started = performance.now();
  const snapshot = snapshotOf(patternsOf(patterns), kind);
  const compileMs = Math.round(performance.now() - started);
  // The last of each shape, so that a scan would have to go all the way.
  const last = patterns - 1;
  const at = (shape: number): number => last - ((last - shape + 3) % 3);
  const hosts: Record<string, (one: number) => string> = {
    exact: (one) => `h${Math.max(at(0) - 3 * one, 0)}.exact.example`,
    suffix: (one) => `a${one}.b.z${at(1)}.suffix.example`,
    "in-label": (one) => `l${at(2)}-${one}-end.label.example`,
    "miss beside": (one) => `absent${one}.exact.example`,
    "miss far": (one) => `collect${one}.attacker.test`,
  };
  const timed = (count: number): Record<string, number> =>
    Object.fromEntries(
      Object.entries(hosts)
        // Few patterns have too few names of their own.
        .filter(([name]) => count === 1 || name !== "exact" || patterns > 3 * MANY)
        .map(([name, host]) => [
          name,
          time(
            snapshot,
            Array.from({ length: count }, (_, one) => requestTo(host(one))),
          ),
        ]),
    );
  return { patterns, kind, compileMs, known: timed(1), anew: timed(MANY) };
}

/** A third each: exact names, suffixes, wildcards inside a label. */
function patternsOf(count: number): string[] {
  const shapes = [
    (n: number) => `h${n}.exact.example`,
    (n: number) => `**.z${n}.suffix.example`,
    (n: number) => `l${n}-*-end.label.example`,
  ];
  return Array.from({ length: count }, (_, n) => shapes[n % 3]!(n));
}

function snapshotOf(patterns: readonly string[], kind: Row["kind"]): Snapshot {
  const allow = patterns.map((host): Rule => ({ host, ports: [443], source: "bench" }));
  const policy: Policy = {
    name: "default",
    presets: kind === "preset" ? [{ name: "bench", patterns }] : [],
    methods: ["GET", "HEAD", "OPTIONS"],
    intents: ["git-fetch"],
    mode: "enforce",
    allow: kind === "rules" ? allow : [],
    deny: [],
    splice: [],
    tcp: [],
    ask: "never",
    keepQueries: false,
    showRule: false,
  };
  const compiled = compile({ generation: 1, policies: [policy] });
  if ("problems" in compiled) throw new Error(compiled.problems[0]?.message);
  return compiled.snapshot;
}

function requestTo(host: string): RequestFacts {
  return {
    stage: "request",
    policy: "default",
    at: 0,
    target: parseAuthority(host, 443)!,
    scheme: "https",
    method: "GET",
    path: parsePath("/package/-/package-1.0.0.tgz")!,
    upgrade: false,
    body: false,
    methodOverride: false,
  };
}

/** The best of a few rounds: what else the machine does only ever adds. */
function time(snapshot: Snapshot, facts: readonly RequestFacts[]): number {
  let best = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const started = process.hrtime.bigint();
    for (let call = 0; call < CALLS; call++) decide(snapshot, facts[call % facts.length]!);
    best = Math.min(best, Number(process.hrtime.bigint() - started) / CALLS);
  }
  return Math.round(best);
}
