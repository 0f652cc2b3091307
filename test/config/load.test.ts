import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { loadConfig, type LoadOptions } from "../../src/config/load.ts";
import type { Loaded } from "../../src/config/types.ts";
import { parseNetwork } from "../../src/net/address.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import { fixture, requiredIn } from "./fixture.ts";

type Good = Loaded & { ok: true };

async function good(options: LoadOptions): Promise<Good> {
  const loaded = await loadConfig(options);
  if (!loaded.ok) throw new Error(loaded.diagnostics.map(formatDiagnostic).join("\n"));
  return loaded;
}

async function errors(options: LoadOptions): Promise<string[]> {
  const loaded = await loadConfig(options);
  return loaded.ok ? [] : loaded.diagnostics.map(formatDiagnostic);
}

async function policyOf(text: string) {
  const { load } = await fixture({ "sallyport.yaml": `anonymous: default\npolicies:\n  default: ${text}\n` });
  return (await good(load)).policies[0];
}

const APPROVALS = { pendingMs: 3_600_000, webhook: undefined };

test("with no file at all the built-in defaults hold", async () => {
  const { load, cwd } = await fixture();
  const { config, policies, warnings, files, file } = await good(load);
  expect(config).toEqual({
    listen: [{ host: "127.0.0.1", port: 3128 }],
    sockets: [],
    transparent: [],
    dns: [],
    admin: {
      host: "127.0.0.1",
      port: 9128,
      socket: join(cwd, "data", "admin.sock"),
      hosts: [],
      open: ["health", "metrics"],
    },
    workers: 1,
    certs: join(cwd, "certs"),
    ca: undefined,
    tls: undefined,
    ticketKeys: undefined,
    proxyProtocol: [],
    presets: undefined,
    upstream: {
      trust: [{ kind: "system" }, { kind: "bundled" }],
      crls: [],
      hosts: new Map(),
      resolvers: undefined,
      parent: undefined,
      routes: [],
      http2: "auto",
    },
    audit: {
      directory: join(cwd, "data/audit"),
      durability: "process",
      rotate: { octets: 256 * 2 ** 20, daily: true },
      privacy: "standard",
    },
    store: { kind: "sqlite", file: join(cwd, "data/sallyport.db") },
    log: { level: "info", format: "auto" },
    sandboxes: [],
    anonymous: "default",
    http2: "auto",
    approvals: APPROVALS,
    limits: DEFAULT_LIMITS,
    secrets: { variables: [], files: [], everyMs: undefined },
  });
  const by = ["common-dependencies"];
  expect(policies).toEqual([
    {
      name: "default",
      presets: [
        { name: "npm", patterns: ["**.npmjs.org", "**.yarnpkg.com"], intents: [], by },
        { name: "pypi", patterns: ["**.pypi.org", "**.github.io"], intents: [], by },
      ],
      methods: ["GET", "HEAD", "OPTIONS"],
      intents: ["git-fetch"],
      mode: "enforce",
      allow: [],
      deny: [],
      splice: [],
      tcp: [],
      ask: "never",
      keepQueries: false,
      showRule: false,
    },
  ]);
  expect({ warnings, file }).toEqual({ warnings: [], file: undefined });
  expect(files).toEqual([join(cwd, "sallyport.yaml"), join(cwd, "presets"), ...requiredIn(cwd)]);
});

test("budgets: for a life or a time, over all hosts or some, each with its place", async () => {
  const { load } = await fixture({
    "sallyport.yaml":
      "anonymous: default\npolicies:\n  default:\n    budgets:\n      upload: 10MiB\n      requests: 600/min\n      connections: 0\n" +
      "      hosts: 5\n      per_host:\n        a.example: { download: 1KiB/hour, requests: 5/day }\n  none: { budgets: {} }\n",
  });
  const { policies } = await good(load);
  const at = (name: string, limit: number, perMs: number, source: string) => ({
    name,
    host: undefined as string | undefined,
    limit,
    perMs,
    source: `sallyport.yaml:${source}`,
  });
  expect(policies.map(({ budgets }) => budgets)).toEqual([
    [
      at("upload", 10 * 2 ** 20, 0, "5:15"),
      at("requests", 600, 60_000, "6:17"),
      at("connections", 0, 0, "7:20"),
      at("hosts", 5, 0, "8:14"),
      { ...at("download", 1024, 3_600_000, "10:32"), host: "a.example" },
      { ...at("requests", 5, 86_400_000, "10:53"), host: "a.example" },
    ],
    [],
  ]);
});

test("an empty file is a file: it keeps the defaults but lets nobody in", async () => {
  const { load, cwd } = await fixture({ "sallyport.yaml": "" });
  const { config, policies, warnings, file } = await good(load);
  expect(config.anonymous).toBeUndefined();
  expect(policies[0]?.intents).toEqual(["git-fetch"]);
  expect(warnings.map(formatDiagnostic)).toEqual([
    "sallyport.yaml:1:1 warning: neither sandboxes nor anonymous is given: every connection is answered 407",
  ]);
  expect(file).toBe(join(cwd, "sallyport.yaml"));
});

test("a policy without keys allows nothing", async () => {
  expect(await policyOf("{}")).toEqual({
    name: "default",
    presets: [],
    methods: ["GET", "HEAD", "OPTIONS"],
    intents: [],
    mode: "enforce",
    allow: [],
    deny: [],
    splice: [],
    tcp: [],
    ask: "never",
    keepQueries: false,
    showRule: false,
  });
});

test("empty lists stay empty", async () => {
  const policy = await policyOf(
    "{ methods: [], preset: [], allow: [{ host: a.example, methods: [], ports: [], paths: [] }] }",
  );
  expect(policy?.methods).toEqual([]);
  expect(policy?.allow).toStrictEqual([
    { host: "a.example", methods: [], ports: [], paths: [], source: "sallyport.yaml:3:47" },
  ]);
});

test("rules keep what is written, and where", async () => {
  const { load } = await fixture({
    "sallyport.yaml": `anonymous: default
policies:
  default:
    preset: [all, none, npm, npm]
    methods: all
    intents: [npm-audit]
    mode: report-only
    queries: kept
    show_rules: true
    allow:
      - a.example
      - host: "*.b.example"
        methods: read-only
        ports: [443]
        paths: [/x/**]
        networks: [10.0.0.0/8]
        expires: 2026-06-01
        reason: because
    deny: [{ host: c.example, methods: all, expires: "2026-06-01T02:00:00+02:00" }]
    splice: [d.example, { host: e.example, ports: [8443] }]
    tcp: [{ host: f.example, ports: [22], networks: [10.0.0.0/8] }]
`,
  });
  const { policies, warnings } = await good(load);
  expect(policies).toStrictEqual([
    {
      name: "default",
      presets: [
        { name: "all", patterns: [], intents: [] },
        { name: "npm", patterns: ["**.npmjs.org", "**.yarnpkg.com"], intents: [] },
      ],
      methods: "all",
      intents: ["npm-audit"],
      mode: "report-only",
      allow: [
        { host: "a.example", source: "sallyport.yaml:11:9" },
        {
          host: "*.b.example",
          methods: ["GET", "HEAD", "OPTIONS"],
          ports: [443],
          paths: ["/x/**"],
          networks: ["10.0.0.0/8"],
          expires: Date.UTC(2026, 5, 1),
          reason: "because",
          source: "sallyport.yaml:12:9",
        },
      ],
      deny: [
        { host: "c.example", methods: "all", expires: Date.UTC(2026, 5, 1), source: "sallyport.yaml:19:12" },
      ],
      splice: [
        { host: "d.example", source: "sallyport.yaml:20:14" },
        { host: "e.example", ports: [8443], source: "sallyport.yaml:20:25" },
      ],
      tcp: [{ host: "f.example", ports: [22], networks: ["10.0.0.0/8"], source: "sallyport.yaml:21:11" }],
      ask: "never",
      keepQueries: true,
      showRule: true,
    },
  ]);
  expect(warnings.map(formatDiagnostic)).toEqual([
    "sallyport.yaml:3:3 warning: the preset `all` is not recommended: code and secrets can be sent to any host",
  ]);
});

test("every other key arrives, with paths from the file's directory", async () => {
  const { load, cwd, write } = await fixture({
    "etc/ca.pem": "",
    "etc/ca.key": "",
    "etc/chain.pem": "",
    "etc/roots.pem": "",
    "etc/tickets.key": "",
    "etc/list.crl": "",
    "etc/more/mine.yaml": "name: mine\ndescription: Ours\nhosts: [a.example]\n",
  });
  await write(
    "etc/other.yaml",
    `listen: [127.0.0.1:0, "[::1]:3128", localhost:3129]
admin: false
workers: auto
certs: state/certs
ca: { cert: ca.pem, key: ca.key, chain: chain.pem }
tls: { names: [Proxy.corp.example, "2001:db8::1"], cert: ca.pem, key: ca.key, client_ca: roots.pem, client_certificates: required }
ticket_keys: tickets.key
proxy_protocol: [10.0.0.0/8, 192.0.2.1]
presets: more
upstream:
  trust: [bundled, roots.pem]
  crls: [list.crl]
  hosts: { Git.Corp.example: [10.1.2.3, "fd00::1"] }
  resolvers: [192.0.2.53, "[2001:db8::53]:5353", "2001:db8::53"]
  http2: never
  pool: { per_origin: 3, total: 5, idle: 700ms }
audit: { directory: /var/log/sallyport, durability: disk, rotate: { size: 1GiB, daily: false }, privacy: zero-retention }
log: { level: debug, format: json }
http2: always
policies: { default: { preset: mine }, other: {} }
sandboxes:
  - { id: one, secret: "\${TOKEN}", policy: default }
  - { id: two, secret: 'x$\${TOKEN}\${TOKEN}', policy: { setup: other, agent: default }, phase: setup }
limits:
  connections: 1
  connections_per_source: 2
  head: 3KiB
  headers: 14
  target: 515B
  streams: 516
  head_time: 600ms
  idle: 7s
  handshake: 8s
  body_idle: 9m
  tunnel_idle: 1h
  connect: 11s
  dns: 12s
  response_head: 13s
  drain: 14s
  leaves: 15
  mintings: 16
  mintings_burst: 17
transparent:
  - { listen: 0.0.0.0:8443, port: 443, sandbox: one }
  - { listen: "[::]:8080", port: 80, sandbox: one }
dns: { listen: 0.0.0.0:5353, answer: [10.0.0.1, fd00::1], ttl: 1500ms, questions: 18, sandbox: one, questions_burst: 19 }
`,
  );
  const { config, files, file } = await good({ ...load, path: "etc/other.yaml" });
  const etc = join(cwd, "etc");
  const { sandboxes, ...rest } = config;
  expect(rest).toEqual({
    secrets: { variables: ["TOKEN"], files: [], everyMs: undefined },
    listen: [
      { host: "127.0.0.1", port: 0 },
      { host: "::1", port: 3128 },
      { host: "localhost", port: 3129 },
    ],
    sockets: [],
    transparent: [
      { listen: { host: "0.0.0.0", port: 8443 }, port: 443, sandbox: "one" },
      { listen: { host: "::", port: 8080 }, port: 80, sandbox: "one" },
    ],
    dns: [
      {
        listen: { host: "0.0.0.0", port: 5353 },
        answer: ["10.0.0.1", "fd00::1"],
        ttlSeconds: 2,
        sandbox: "one",
        questionsPerSecond: 18,
        questionBurst: 19,
      },
    ],
    admin: false,
    workers: "auto",
    certs: join(etc, "state/certs"),
    ca: { cert: join(etc, "ca.pem"), key: join(etc, "ca.key"), chain: join(etc, "chain.pem") },
    tls: {
      names: ["proxy.corp.example", "2001:db8::1"],
      certificate: { cert: join(etc, "ca.pem"), key: join(etc, "ca.key") },
      clientCa: join(etc, "roots.pem"),
      clientCertificates: "required",
    },
    ticketKeys: join(etc, "tickets.key"),
    proxyProtocol: [parseNetwork("10.0.0.0/8"), parseNetwork("192.0.2.1")],
    presets: join(etc, "more"),
    upstream: {
      trust: [{ kind: "bundled" }, { kind: "file", path: join(etc, "roots.pem") }],
      crls: [join(etc, "list.crl")],
      hosts: new Map([["git.corp.example", ["10.1.2.3", "fd00::1"]]]),
      resolvers: ["192.0.2.53", "[2001:db8::53]:5353", "2001:db8::53"],
      parent: undefined,
      routes: [],
      http2: "never",
    },
    audit: {
      directory: "/var/log/sallyport",
      durability: "disk",
      rotate: { octets: 2 ** 30, daily: false },
      privacy: "zero-retention",
    },
    store: { kind: "sqlite", file: join(etc, "data/sallyport.db") },
    log: { level: "debug", format: "json" },
    anonymous: undefined,
    http2: "always",
    approvals: APPROVALS,
    limits: {
      connections: 1,
      connectionsPerSource: 2,
      headOctets: 3072,
      headFields: 14,
      targetOctets: 515,
      streams: 516,
      headMs: 600,
      keepAliveMs: 7_000,
      handshakeMs: 8_000,
      bodyIdleMs: 540_000,
      tunnelIdleMs: 3_600_000,
      connectMs: 11_000,
      dnsMs: 12_000,
      approvalMs: 60_000,
      upstreamHeadMs: 13_000,
      drainMs: 14_000,
      leaves: 15,
      mintsPerSecond: 16,
      mintBurst: 17,
      upstreamIdleMs: 700,
      upstreamPerOrigin: 3,
      upstreamTotal: 5,
    },
  });
  expect(sandboxes.map(({ secret, ...sandbox }) => ({ ...sandbox, secret: secret?.reveal() }))).toEqual([
    {
      id: "one",
      secret: "correct-horse-battery",
      sources: [],
      policies: { setup: "default", agent: "default" },
      phase: "agent",
    },
    {
      id: "two",
      secret: "x${TOKEN}correct-horse-battery",
      sources: [],
      policies: { setup: "other", agent: "default" },
      phase: "setup",
    },
  ]);
  expect(`${JSON.stringify(config)}${inspect(config, { depth: 9 })}`).not.toContain("correct-horse");
  expect(file).toBe(join(etc, "other.yaml"));
  expect(files).toEqual([
    join(etc, "other.yaml"),
    join(etc, "more"),
    join(etc, "more/mine.yaml"),
    ...requiredIn(cwd),
  ]);
});

test.each([
  ["listen: 127.0.0.1:1", "listen", [{ host: "127.0.0.1", port: 1 }]],
  ["admin: false", "admin", false],
])("%s", async (text, key, expected) => {
  const { load } = await fixture({ "sallyport.yaml": text });
  expect((await good(load)).config[key as "listen"]).toEqual(expected);
});

test.each([
  ["admin: localhost:65535", { host: "localhost", port: 65_535, hosts: [], open: ["health", "metrics"] }],
  ["admin: {}", { host: "127.0.0.1", port: 9128, hosts: [], open: ["health", "metrics"] }],
  [
    "admin: { listen: '0.0.0.0:1', socket: run/a.sock, hosts: [sallyport.corp], open: [health] }",
    { host: "0.0.0.0", port: 1, socket: "run/a.sock", hosts: ["sallyport.corp"], open: ["health"] },
  ],
  ["admin: { open: [] }", { host: "127.0.0.1", port: 9128, hosts: [], open: [] }],
] as const)("%s", async (text, said) => {
  const { load, cwd } = await fixture({ "sallyport.yaml": text });
  const socket = join(cwd, "socket" in said ? said.socket : "data/admin.sock");
  expect((await good(load)).config.admin).toEqual({ ...said, socket });
});

test("a socket's path that no socket can have is none", async () => {
  for (const [octets, there] of [
    [107, true],
    [108, false],
  ] as const) {
    const socket = `/${"x".repeat(octets - 1)}`;
    const { load } = await fixture({ "sallyport.yaml": `admin: { socket: ${socket} }` });
    expect((await good(load)).config.admin).toMatchObject({ socket: there ? socket : undefined });
  }
});

test("the store's URL may come from the environment, as a whole or its password", async () => {
  const whole = "postgres://sallyport:p%40ss@db.example/sallyport";
  for (const [written, env] of [
    ["${STORE}", { STORE: whole }],
    ["postgres://sallyport:${PASSWORD}@db.example/sallyport", { PASSWORD: "p@ss" }],
  ] as const) {
    const { load } = await fixture({ "sallyport.yaml": `anonymous: default\nstore: ${written}\n` });
    const { config } = await good({ ...load, env });
    expect(config.store.kind === "postgres" && config.store.url.reveal()).toBe(whole);
    expect(inspect(config, { depth: 9 })).not.toContain("p%40ss");
  }
});

test("both sides of each bound", async () => {
  const accepted = [
    "head_time: 100ms",
    "head_time: 10m",
    "head: 1KiB",
    "head: 1MiB",
    "leaves: 1",
    "leaves: 1000000",
  ];
  const refused = [
    "head_time: 99ms",
    "head_time: 11m",
    "head: 1023B",
    "head: 1025KiB",
    "leaves: 0",
    "leaves: 1000001",
  ];
  for (const limit of accepted) {
    const { load } = await fixture({ "sallyport.yaml": `limits: { ${limit} }` });
    await good(load);
  }
  for (const limit of refused) {
    const { load } = await fixture({ "sallyport.yaml": `limits: { ${limit} }` });
    expect(await errors(load)).toHaveLength(2);
  }
});

test("a file that was named must be there", async () => {
  const { load, cwd } = await fixture();
  expect(await errors({ ...load, path: "nope.yaml" })).toEqual([
    "nope.yaml:1:1 the file cannot be read: it is not there",
  ]);
  const loaded = await loadConfig({ ...load, path: "nope.yaml" });
  expect(loaded.files).toEqual([join(cwd, "nope.yaml"), ...requiredIn(cwd)]);
});

test("a file that cannot be read never becomes the defaults", async () => {
  const directory = await fixture({ "sallyport.yaml/x": "" });
  expect(await errors(directory.load)).toEqual([
    "sallyport.yaml:1:1 the file cannot be read: it is a directory",
  ]);

  const dangling = await fixture();
  await symlink("nowhere", join(dangling.cwd, "sallyport.yaml"));
  expect(await errors(dangling.load)).toEqual([
    "sallyport.yaml:1:1 the file cannot be read: it is not there",
  ]);

  const circle = await fixture();
  await symlink("sallyport.yaml", join(circle.cwd, "sallyport.yaml"));
  expect(await errors(circle.load)).toEqual([
    "sallyport.yaml:1:1 the file cannot be read: its links go in a circle",
  ]);

  const latin1 = await fixture();
  await writeFile(join(latin1.cwd, "sallyport.yaml"), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  expect(await errors(latin1.load)).toEqual(["sallyport.yaml:1:1 the file cannot be read: it is not UTF-8"]);

  const large = await fixture({ "sallyport.yaml": "#".repeat(16 * 2 ** 20 + 1) });
  expect(await errors(large.load)).toEqual([
    "sallyport.yaml:1:1 the file cannot be read: it is larger than 16 MiB",
  ]);
});

test.each(["sallyport.yml", "sallyport.json"])("%s is pointed out, not passed over", async (name) => {
  const { load } = await fixture({ [name]: "" });
  expect(await errors(load)).toEqual([`sallyport.yaml:1:1 ${name} is not read; call it sallyport.yaml`]);
});

test.each(["[", "- ", "{a: "])("%s without end does not exhaust the stack", async (open) => {
  const { load } = await fixture({ "sallyport.yaml": open.repeat(5_000) });
  expect(await errors(load)).toEqual(["sallyport.yaml:1:1 the file is nested too deeply"]);
});

test("a byte order mark and Windows line ends are read", async () => {
  const { load } = await fixture({ "sallyport.yaml": "\uFEFFanonymous: default\r\nadmin: false\r\n" });
  expect((await good(load)).config.admin).toBe(false);
});

test("the working directory's presets may be the shipped ones themselves", async () => {
  const { load, cwd, write } = await fixture();
  await write(
    "presets/common-dependencies.yaml",
    "name: common-dependencies\ndescription: x\nhosts: [a.example]\n",
  );
  const { policies, config } = await good({ ...load, shippedPresets: join(cwd, "presets") });
  expect(policies[0]?.presets).toEqual([
    { name: "common-dependencies", patterns: ["a.example"], intents: [] },
  ]);
  expect(config.presets).toBeUndefined();
});

test("an error in a preset of the operator's is an error of the whole", async () => {
  const { load, cwd } = await fixture({
    "sallyport.yaml": "anonymous: nobody\n",
    "presets/mine.yaml": "name: mine\ndescription: x\nhots: []\n",
  });
  expect(await errors(load)).toEqual([
    'presets/mine.yaml:3:1 unknown key "hots" (did you mean "hosts"?)',
    'sallyport.yaml:1:12 unknown policy "nobody"',
  ]);
  const elsewhere = await fixture();
  expect(await errors({ ...load, cwd: elsewhere.cwd, path: join(cwd, "sallyport.yaml") })).toContain(
    `${cwd}/presets/mine.yaml:3:1 unknown key "hots" (did you mean "hosts"?)`,
  );
});

test("a wide pattern in an operator's preset is warned of, in a shipped one not", async () => {
  const { load } = await fixture({
    "sallyport.yaml": "anonymous: default\n",
    "presets/mine.yaml": 'name: mine\ndescription: x\nhosts: [a.example, "**.github.io"]\n',
  });
  expect((await good(load)).warnings.map(formatDiagnostic)).toEqual([
    'presets/mine.yaml:3:20 warning: "**.github.io": anyone may publish under github.io',
  ]);
});

// Security booleans in six states; the two of a reload are in reloader.test.ts.
test.each([
  ["omitted", "{}", false],
  ["null", "{ show_rules: }", "sallyport.yaml:3:14 expected true or false, got nothing"],
  ["null in words", "{ show_rules: null }", "sallyport.yaml:3:26 expected true or false, got nothing"],
  ["true", "{ show_rules: true }", true],
  ["false", "{ show_rules: false }", false],
  ["a word", "{ show_rules: no }", "sallyport.yaml:3:26 expected true or false"],
])("show_rules %s", async (_state, policy, expected) => {
  const { load } = await fixture({
    "sallyport.yaml": `anonymous: default\npolicies:\n  default: ${policy}\n`,
  });
  const loaded = await loadConfig(load);
  expect(loaded.ok ? loaded.policies[0]?.showRule : loaded.diagnostics.map(formatDiagnostic).join()).toBe(
    expected,
  );
});

test("no text makes the loader throw, and what it refuses it refuses with a place", async () => {
  const { load, write } = await fixture();
  const seeds = await Promise.all(
    ["rules", "secrets", "limits", "yaml-aliases", "references"].map(
      async (name) =>
        (await readFile(join(import.meta.dirname, "cases", `${name}.case`), "utf8")).split("==========")[0]!,
    ),
  );
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.nat(), fc.nat(40), fc.string({ unit: "binary", maxLength: 8 }))
    .map(([text, at, cut, put]) => {
      const start = at % text.length;
      return text.slice(0, start) + put + text.slice(start + cut);
    });
  const yamlish = fc
    .array(
      fc.constantFrom(..."[]{}:,-?&*!|>'\"%@`#~ \n\tax1$", "- ", ": ", "<<", "policies:", "&a ", "*a "),
      { maxLength: 60 },
    )
    .map((parts) => parts.join(""));
  await fc.assert(
    fc.asyncProperty(fc.oneof(mutated, yamlish, fc.string({ unit: "binary" })), async (text) => {
      await write("sallyport.yaml", text);
      const loaded = await loadConfig(load);
      for (const { line, column, message } of loaded.ok ? loaded.warnings : loaded.diagnostics) {
        expect(line > 0 && column > 0 && message !== "").toBe(true);
      }
      expect(loaded.ok || loaded.diagnostics.some(({ severity }) => severity === "error")).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("a directory of presets that cannot be read is an error", async () => {
  const { load, cwd } = await fixture({ "sallyport.yaml": "anonymous: default\n" });
  await mkdir(join(cwd, "empty"));
  expect(await errors({ ...load, shippedPresets: join(cwd, "nowhere") })).toEqual([
    "nowhere:1:1 the presets cannot be read: it is not there",
  ]);
  expect(await errors({ ...load, shippedPresets: join(cwd, "empty") })).toEqual([]);
});
