// docs/security.md says that each invariant's test fails without the line that the invariant rests on. Here the line is taken
// away, in a copy. If one of these finds its line no more, it has moved: name it where it is now.

import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const copy = mkdtempSync(join(tmpdir(), "sallyport-mutations-"));
afterAll(() => rmSync(copy, { recursive: true, force: true }));
for (const name of ["src", "presets", "package.json", "vitest.config.ts"])
  cpSync(join(ROOT, name), join(copy, name), { recursive: true });
for (const name of ["support", "invariants.test.ts"])
  cpSync(join(ROOT, "test", name), join(copy, "test", name), { recursive: true });
symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));

type Mutation = readonly [file: string, line: string, instead: string];
const ALLOWED =
  '{ action: "allow", rule: DEFAULT, preset: undefined, handling: "intercept", wouldDeny: undefined }';
const MUTATIONS: readonly (readonly [invariant: number, what: string, mutations: readonly Mutation[]])[] = [
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
    [["proxy/ledger.ts", "await entry.decide(fields);", "void entry.decide(fields).catch(() => {});"]],
  ],
  [
    3,
    "the target is sent as received",
    [["proxy/forward.ts", "target: path.sent + path.query", "target: request.head.target"]],
  ],
  [3, "framing of the sandbox's is passed on", [["net/headers.ts", " transfer-encoding ", " "]]],
  [4, "any address may be dialed", [["policy/admit.ts", "return lifted ?", "return true ?"]]],
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
        "if (!loaded.ok)",
        "if (!loaded.ok) publish({ ...this.#current!, snapshot: { ...this.#current!.snapshot, policies: new Map() } });\n    if (!loaded.ok)",
      ],
    ],
  ],
];

test("as it is, all ten hold", async () => {
  expect(await run("")).toMatch(/Tests +10 passed/);
});

test.each(MUTATIONS)("%i fails where %s", async (invariant, _, mutations) => {
  const before = new Map<string, string>();
  for (const [file, line, instead] of mutations) {
    const path = join(copy, "src", file);
    const text = readFileSync(path, "utf8");
    expect(text, `${file} no longer has ${line}`).toContain(line);
    if (!before.has(path)) before.set(path, text);
    writeFileSync(path, text.replace(line, instead));
  }
  try {
    expect(await run(`${invariant}\\. `)).toMatch(/Tests +1 failed/);
  } finally {
    for (const [path, text] of before) writeFileSync(path, text);
  }
});

/** What vitest says of the invariants whose name matches. */
function run(name: string): Promise<string> {
  const vitest = join(ROOT, "node_modules/vitest/vitest.mjs");
  const args = [vitest, "run", "test/invariants.test.ts", "--testTimeout=10000", "-t", name];
  return new Promise((resolve) => {
    const env = { PATH: process.env["PATH"], NO_COLOR: "1" };
    execFile(process.execPath, args, { cwd: copy, env }, (_, stdout, stderr) => resolve(stdout + stderr));
  });
}
