// sallyport.yaml, key by key: what may stand there, what holds where nothing does, and what it means. The reference in
// docs/configuration.md and the JSON Schema for editors are generated from here. Absence never allows.

import * as z from "zod";
import { hosts, methods, name, rule, spliceRule } from "./rule-schema.ts";
import { count, duration, endpoint, path, resolver, size, staticHosts } from "./values.ts";

const intents = z.array(z.enum(["git-fetch", "npm-audit"]), "expected a list of intents");

const policy = z.strictObject({
  preset: z
    .union(
      [z.string().transform((only) => [only]), z.array(z.string())],
      "expected the name of a preset, or a list of names",
    )
    .prefault([])
    .describe("Presets whose hosts are allowed: a name or a list of names."),
  methods: methods
    .prefault("read-only")
    .describe(
      "Methods allowed: `read-only` (GET, HEAD, OPTIONS), `all`, or a list; exact and case-sensitive.",
    ),
  intents: intents
    .prefault([])
    .describe("Named exceptions to the methods: `git-fetch` (clone and fetch, never push), `npm-audit`."),
  mode: z
    .enum(["enforce", "report-only"])
    .default("enforce")
    .describe("`report-only` lets pass what would be denied, and records that it would have been."),
  allow: z.array(rule, "expected a list of rules").prefault([]).describe("Hosts allowed beside the presets."),
  deny: z
    .array(rule, "expected a list of rules")
    .prefault([])
    .describe("Hosts denied, whatever else allows them; the order of writing does not matter."),
  splice: z
    .array(spliceRule, "expected a list of hosts")
    .prefault([])
    .describe(
      "Hosts whose TLS is passed unread; they need `methods: all`, since nothing inside can be limited.",
    ),
  queries: z
    .enum(["redacted", "kept"])
    .default("redacted")
    .describe("Whether query strings stand in the audit log."),
  show_rules: z
    .boolean()
    .default(false)
    .describe("Whether a refusal shows the sandbox the rule's own reason."),
});

const sandbox = z.strictObject({
  id: name("a sandbox id").describe("The user name of the sandbox's proxy credentials; unique."),
  secret: z
    .string("expected a string (quote numbers)")
    .min(8, "a secret has at least 8 characters")
    .max(256, "a secret has at most 256 characters")
    .describe("The password of the sandbox's proxy credentials; `${ENV}` is expanded."),
  policy: z
    .union(
      [
        z.string().transform((both) => ({ setup: both, agent: both })),
        z.strictObject({
          setup: z.string().describe("Policy in the phase `setup`."),
          agent: z.string().describe("Policy in the phase `agent`."),
        }),
      ],
      "expected the name of a policy, or a mapping with the keys setup and agent",
    )
    .describe("Name of the policy, or one for each phase."),
  phase: z.enum(["setup", "agent"]).default("agent").describe("Where in its life the sandbox is."),
});

const upstream = z.strictObject({
  trust: z
    .array(path, "expected a list of trust anchors: system, bundled, and files")
    .min(1, "an empty list trusts no origin at all")
    .prefault(["system", "bundled"])
    .describe(
      "Trust anchors that origins are verified against: `system`, `bundled` (Mozilla's, as Node ships them), and PEM files.",
    ),
  crls: z
    .array(path, "expected a list of files")
    .prefault([])
    .describe("Revocation lists (PEM files) for origins' certificates."),
  hosts: staticHosts
    .prefault({})
    .describe("Static answers, ahead of DNS; judged by the address guard like any other."),
  resolvers: z
    .array(resolver, "expected a list of name servers")
    .min(1, "expected at least one name server")
    .optional()
    .describe("Name servers to ask; absent: the system's resolver."),
  pool: z
    .strictObject({
      per_origin: count(1, 10_000)
        .default(64)
        .describe("Idle connections kept to one origin for one sandbox."),
      total: count(1, 100_000).default(2_048).describe("Connections to all origins together."),
      idle: duration("100ms", "10m")
        .prefault("4s")
        .describe("How long an unused connection to an origin is kept."),
    })
    .prefault({})
    .describe("Connections to origins."),
});

const limits = z.strictObject({
  connections: count(1, 1_000_000).default(4_096).describe("Open connections from sandboxes."),
  connections_per_source: count(1, 1_000_000)
    .default(1_024)
    .describe("Open connections from one source address."),
  head: size("1KiB", "1MiB").prefault("64KiB").describe("Request line and header fields together."),
  headers: count(8, 10_000).default(128).describe("Number of header fields in a request."),
  target: size("256B", "256KiB").prefault("16KiB").describe("The request target."),
  head_time: duration("100ms", "10m").prefault("15s").describe("For a whole request head, once begun."),
  idle: duration("100ms", "1h").prefault("75s").describe("Idle time between two requests of one connection."),
  handshake: duration("100ms", "10m")
    .prefault("10s")
    .describe("For the ClientHello and the TLS handshake of a sandbox."),
  body_idle: duration("100ms", "24h")
    .prefault("300s")
    .describe("Without an octet of a body, either way; a body that trickles goes on for as long as it does."),
  tunnel_idle: duration("100ms", "24h")
    .prefault("600s")
    .describe("Without an octet through a spliced tunnel or an upgraded connection, either way."),
  connect: duration("100ms", "10m")
    .prefault("10s")
    .describe("To connect to an origin, over all its addresses."),
  dns: duration("100ms", "1m").prefault("5s").describe("To resolve a name."),
  response_head: duration("100ms", "24h")
    .prefault("300s")
    .describe("From the end of a request to its response head."),
  drain: duration("100ms", "1h").prefault("30s").describe("For exchanges to end after a stop is asked for."),
  leaves: count(1, 1_000_000).default(1_000).describe("Leaf certificates kept in memory."),
  mintings: count(1, 100_000)
    .default(50)
    .describe("Leaf certificates minted per second for one sandbox; eight times that for all."),
  mintings_burst: count(1, 100_000)
    .default(200)
    .describe(
      "Leaf certificates minted at once for one sandbox, after a quiet time; eight times that for all.",
    ),
});

export const configSchema = z.strictObject({
  listen: z
    .union(
      [endpoint.transform((only) => [only]), z.array(endpoint).min(1, "expected at least one address:port")],
      "expected address:port, or a list of them",
    )
    .prefault(["127.0.0.1:3128"])
    .describe("Where sandboxes connect: `address:port` or a list; port 0 takes a free one."),
  admin: z
    .union([endpoint, z.literal(false)], "expected address:port, or false")
    .prefault("127.0.0.1:9128")
    .describe("Where /metrics, /healthz and /readyz are; false: nowhere. Never reachable through the proxy."),
  certs: path
    .prefault("certs")
    .describe("Directory of the trust anchor (`ca.pem`) and its key (`ca.key`); made on first start."),
  ca: z
    .strictObject({
      cert: path.describe("Certificate of the CA or intermediate, PEM."),
      key: path.describe("Its private key, PEM."),
      chain: path.optional().describe("Certificates between it and the root, PEM."),
    })
    .optional()
    .describe("An own CA or intermediate, instead of the one in `certs`."),
  presets: path.optional().describe("Directory of more presets; absent: `presets`, if it is there."),
  upstream: upstream.prefault({}).describe("How origins are found, reached and verified."),
  audit: z
    .strictObject({
      directory: path.prefault("data/audit").describe("Directory of the audit log."),
      durability: z
        .enum(["process", "disk"])
        .default("process")
        .describe("When a record counts as written: given to the system, or synced to the disk."),
      rotate: z
        .strictObject({
          size: size("64KiB", "64GiB").prefault("256MiB").describe("A new segment begins at this size."),
          daily: z.boolean().default(true).describe("A new segment begins at 00:00 UTC."),
        })
        .prefault({})
        .describe("When a new segment of the log begins."),
      privacy: z
        .enum(["standard", "zero-retention"])
        .default("standard")
        .describe("`zero-retention` keeps host, method, verdict and sizes only."),
    })
    .prefault({})
    .describe("The audit log."),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
        .default("info")
        .describe("The least severe lines that are logged."),
      format: z
        .enum(["auto", "pretty", "json"])
        .default("auto")
        .describe("`auto`: pretty on a terminal, JSON otherwise."),
    })
    .prefault({})
    .describe("The diagnostic log, on standard error."),
  policies: z
    .record(name("a policy name"), policy, "expected a mapping of policy names to policies")
    .prefault({ default: { preset: "common-dependencies", intents: ["git-fetch"] } })
    .describe("Policies by name."),
  sandboxes: z
    .array(sandbox, "expected a list of sandboxes")
    .prefault([])
    .describe("Who may connect, and under which policy."),
  anonymous: z
    .string()
    .optional()
    .describe("Policy for a connection without credentials; absent: it is answered 407."),
  limits: limits.prefault({}).describe("Bounds on time, size and number."),
});

export type ParsedConfig = z.output<typeof configSchema>;

export const presetSchema = z.strictObject({
  name: name("a preset name").describe("Its name; the file is called so, with .yaml."),
  description: z.string().min(1, "expected a description").describe("One sentence for people who choose."),
  warning: z.string().optional().describe("Said whenever a policy uses the preset."),
  include: z
    .array(z.string(), "expected a list of preset names")
    .prefault([])
    .describe("Presets that this one is made of."),
  hosts: hosts.prefault([]).describe("Host patterns that it allows."),
  intents: intents
    .prefault([])
    .describe(
      "Intents that its hosts serve: a policy's intents hold for a preset's hosts only where it says so.",
    ),
});

export type ParsedPreset = z.output<typeof presetSchema>;
