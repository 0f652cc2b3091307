// The lines that the invariants rest on, and what takes their place where a test must fail for it. A line that has moved is named
// where it is now: test/tidy.test.ts asks for each.

export type Mutation = readonly [file: string, line: string, instead: string];

const ALLOWED =
  '{ action: "allow", rule: DEFAULT, preset: undefined, handling: "intercept", wouldDeny: undefined }';
export const MUTATIONS: readonly (readonly [
  invariant: number,
  what: string,
  mutations: readonly Mutation[],
])[] = [
  [
    1,
    "what no rule allows is allowed",
    [
      [
        "policy/decide.ts",
        "return { ...(nearest ?? { reason, rule: DEFAULT }), missed: true };",
        `return ${ALLOWED};`,
      ],
    ],
  ],
  [
    2,
    "the record is not waited for",
    [
      [
        "proxy/ledger.ts",
        "return entry.decide(fields).then(() => this.#written(entry, subject, fields), unavailable);",
        "void entry.decide(fields).catch(() => {}); return Promise.resolve(this.#written(entry, subject, fields));",
      ],
    ],
  ],
  [
    3,
    "the target is sent as received",
    [["proxy/forward.ts", "target: path.sent + path.query", "target: request.head.target"]],
  ],
  [3, "framing of the sandbox's is passed on", [["net/headers.ts", " transfer-encoding ", " "]]],
  [4, "any address may be dialed", [["policy/admit.ts", "if (!lifted) return", "if (false) return"]]],
  [5, "any server name will do", [["policy/decide.ts", "facts.sni !== facts.target.host", "false"]]],
  [5, "any Host will do", [["proxy/inquiry.ts", "if (!sameAuthority(host, target))", "if (false)"]]],
  [
    6,
    "any certificate will do",
    [
      ["upstream/dial.ts", "rejectUnauthorized: true", "rejectUnauthorized: false"],
      ["upstream/dial.ts", "if (!secured.authorized)", "if (false)"],
    ],
  ],
  [7, "proxy credentials are end-to-end", [["net/headers.ts", " proxy-authorization ", " "]]],
  [
    8,
    "the proxy's own addresses are like others",
    [["policy/admit.ts", "return own.some(", "return [].some("]],
  ],
  [9, "connections are not counted", [["proxy/listener.ts", "this.#open >= limits.connections", "false"]]],
  [
    9,
    "a request's head may take its time",
    [["proxy/http1-server.ts", '=> this.#reject(new ProxyFault("request-timeout"))', "=> {}"]],
  ],
  [
    10,
    "an invalid file's policies are taken up",
    [
      [
        "config/reloader.ts",
        "if (!loaded.ok || refusals.length > 0) {",
        "if (!loaded.ok || refusals.length > 0) {\n      await publish({ ...this.#current!, snapshot: { ...this.#current!.snapshot, policies: new Map() } });",
      ],
    ],
  ],
];
