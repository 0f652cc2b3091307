// sallyport.yaml, key by key: what may stand there, what holds where nothing does, and what it means. The reference in
// docs/configuration.md and the JSON Schema for editors are generated from here. Absence never allows.

import * as z from "zod";
import { admin } from "./admin-schema.ts";
import { listen } from "./listen-schema.ts";
import { approvals } from "./approvals-schema.ts";
import { limits } from "./limits-schema.ts";
import { intents, policy } from "./policy-schema.ts";
import { dns, transparent } from "./redirect-schema.ts";
import { hosts, name } from "./rule-schema.ts";
import { upstream } from "./upstream-schema.ts";
import { tls } from "./tls-schema.ts";
import { count, network, path, size, store, text } from "./values.ts";

const certificateName = text("a name such as URI:spiffe://corp.example/ci or DNS:ci.corp.example", (input) =>
  // No other character can stand in a certificate's names without being quoted there.
  /^(?:URI|DNS):[!#-&(-+\--[\]-~]{1,255}$/.test(input) ? input : undefined,
);

const sandbox = z.strictObject({
  id: name("a sandbox id").describe("The user name of the sandbox's proxy credentials; unique."),
  secret: z
    .string("expected a string (quote numbers)")
    .min(8, "a secret has at least 8 characters")
    .max(256, "a secret has at most 256 characters")
    .optional()
    .describe(
      "The password of the sandbox's proxy credentials; `${ENV}` is expanded. Required, unless there is a `certificate`, `sources` or a listener for it.",
    ),
  certificate: certificateName
    .optional()
    .describe(
      "The name in the sandbox's client certificate that is its own, exactly: `URI:spiffe://corp/ci` or `DNS:ci.corp`.",
    ),
  sources: z
    .array(network, "expected a list of networks")
    .max(64, "expected at most 64 networks")
    .prefault([])
    .describe("Addresses and networks that are the sandbox's alone: it needs no credentials from there."),
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

export const configSchema = z.strictObject({
  listen,
  transparent: transparent
    .prefault([])
    .describe("Listeners for connections that were redirected here; see docs/transparent.md."),
  dns: dns.describe(
    "A name server that answers permitted names with the transparent listeners' addresses, and asks nobody.",
  ),
  admin,
  workers: z
    .union([count(1, 64), z.literal("auto")], "expected a whole number from 1 to 64, or auto")
    .default(1)
    .describe(
      "Processes that sandboxes' connections are shared out among; `auto`: as many as the machine runs at once, 64 at most.",
    ),
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
  tls: tls
    .optional()
    .describe("TLS to the proxy itself (`HTTPS_PROXY=https://…`), on the same port; absent: not spoken."),
  ticket_keys: path
    .optional()
    .describe(
      "File of 48 random octets (`openssl rand -out FILE 48`, mode 0600) that seal TLS session tickets: replicas that share it resume each other's sessions; absent: each makes its own at its start.",
    ),
  proxy_protocol: z
    .array(network, "expected a list of networks")
    .prefault([])
    .describe(
      "Balancers whose PROXY header (version 1 or 2) is believed, and required: addresses and networks.",
    ),
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
  store: store
    .prefault("data/sallyport.db")
    .describe(
      "Where sandboxes, tokens, grants and budgets are kept: a file (SQLite), for one process, or `postgres://user:password@host/database` for several replicas (docs/replicas.md); `${ENV}` is expanded.",
    ),
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
  http2: z
    .enum(["auto", "always", "never"])
    .default("auto")
    .describe(
      "HTTP/2 with sandboxes, inside intercepted tunnels. `auto`: where a client offers `h2` and not `http/1.1`, as gRPC does; `always`: where it offers `h2`.",
    ),
  approvals: approvals
    .prefault({})
    .describe("What becomes of requests that a policy asks about; see `ask` and docs/approvals.md."),
  requirements: path
    .optional()
    .describe(
      "A requirements file that holds beside the administrator's own, which no key is needed for; see docs/requirements.md.",
    ),
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
