// The rules of the code itself, each with its reason: who may import whom, what may not be written, how long things may
// get, and that what is generated is current. What a linter or the compiler can say is left to them.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative, sep } from "node:path";
import { describe, expect, test } from "vitest";
import { NODE_FLAGS } from "../scripts/node-flags.ts";
import { renderAll } from "../scripts/generate-docs.ts";
import { REASONS } from "../src/net/reasons.ts";
import { MUTATIONS } from "./slow/mutations.ts";

const ROOT = dirname(import.meta.dirname);

/** What each part may import with its values; `type` only with `import type`. DESIGN: arrows go down only. */
const ADAPTERS = [
  "identity",
  "tls",
  "upstream",
  "audit",
  "telemetry",
  "config",
  "admin",
  "cluster",
  "registry",
  "store",
  "exec",
  "environment",
];
const MAY_IMPORT: Readonly<Record<string, { value: readonly string[]; type: readonly string[] }>> = {
  net: { value: [], type: [] },
  policy: { value: ["net"], type: ["net"] },
  ...Object.fromEntries(
    ADAPTERS.map((part) => [part, { value: ["net", "policy"], type: ["net", "policy", ...ADAPTERS] }]),
  ),
  proxy: { value: ["net", "policy"], type: ["net", "policy", ...ADAPTERS] },
};
const ANYTHING = ["cli", "assemble", "assemble.ts"];

/** One engine for each side, one library for each purpose: what may be imported where, besides each other. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  commander: ["cli"],
  "lru-cache": ["audit", "identity", "policy", "tls", "upstream"],
  "node-forge": ["tls"],
  picomatch: ["policy"],
  pino: ["telemetry"],
  "prom-client": ["telemetry"],
  tldts: ["config"],
  yaml: ["config"],
  zod: ["admin", "audit", "config"],
  "node:child_process": ["exec", "config"],
  "node:cluster": ["cluster", "assemble"],
  "node:dns": ["upstream"],
  "node:dns/promises": ["upstream"],
  "node:http": ["admin", "cli"],
  "node:https": ["registry", "cli"],
  "node:sqlite": ["audit", "store"],
  pg: ["store"],
  "node:vm": [],
};

type Ban = { readonly words: RegExp; readonly why: string; readonly in?: RegExp; readonly except?: RegExp };

const PURE = /^src\/(net|policy)\//;
const BANNED: readonly Ban[] = [
  { in: PURE, words: /\bDate\.now|new Date\(\)|performance\.now/, why: "time arrives as a fact" },
  { in: PURE, words: /Math\.random|randomBytes|randomUUID/, why: "the same facts give the same verdict" },
  { in: PURE, words: /\bprocess\./, why: "the environment is read at the edge" },
  { in: PURE, words: /\basync\b|\bawait\b|\bPromise\b/, why: "no wait can come between facts and verdict" },
  { in: PURE, words: /\bset(Timeout|Interval|Immediate)\b/, why: "pure code has no clock" },
  {
    in: PURE,
    words: /from "node:(?!url"|net")/,
    why: "pure code touches no machine (domainToASCII is a table)",
  },
  {
    in: /^(?!test\/tidy)/,
    words: /NODE_TLS_REJECT_UNAUTHORIZED/,
    why: "origins are always verified (invariant 6)",
  },
  { words: /rejectUnauthorized:\s*false/, in: /^src\//, why: "origins are always verified (invariant 6)" },
  {
    in: /^src\//,
    words: /checkServerIdentity/,
    except: /^src\/upstream\/dial\.ts$/,
    why: "names are checked in one place",
  },
  {
    in: /^src\//,
    words: /\bdns\.lookup\b|\blookup\(/,
    why: "a name is resolved once, and judged (invariant 4)",
  },
  {
    in: /^src\//,
    words: /\bsetDefault(ResultOrder|AutoSelectFamily|CACertificates)\b/,
    why: "no state of the whole process",
  },
  {
    in: /^src\//,
    words: /process\.env\b/,
    except: /^src\/cli\/context\.ts$/,
    why: "the environment is handed in",
  },
  {
    in: /^src\//,
    words: /process\.exit\(/,
    except: /^src\/cli\//,
    why: "only the command line ends the process",
  },
  { in: /^src\//, words: /\.prototype\.\w+\s*=/, why: "Node's classes are left as they are" },
  { in: /^src\//, words: /\(\w+ as any\)/, why: "state lives in an object that is ours" },
  { in: /^src\//, words: /Object\.assign\((?!\{)/, why: "nothing is patched from outside" },
  { in: /^src\//, words: /\beval\(|new Function\(/, why: "nothing read becomes code" },
  {
    in: /^src\//,
    words: /\.message\.match\(|\.test\(\w*(rr|ault)\w*\.message/,
    why: "codes, not messages",
  },
  {
    in: /^src\/(?!cli)/,
    words: /\bconsole\.|process\.std(out|err)\.write/,
    why: "diagnostics go through the log",
  },
  {
    in: /^(src|test)\//,
    words: /\/\/ @ts-|oxlint-disable(?!-next-line [\w-]+ -- )/,
    why: "say why, or mend it",
  },
  { in: /^test\/(?!tidy)/, words: /\b(test|it|describe)\.only\b/, why: "it hides the other tests" },
  { in: /^(src|docs|presets|README)/, words: /\b(white|black)list/i, why: "say allowlist, deny rule" },
  {
    in: /^(src|docs|presets|README)/,
    words: /\b(mitm(?!proxy)|ssl.?bump|bumped|dry.run)\b/i,
    why: "say intercept, report-only",
  },
  { in: /^src\//, words: /\b(TODO|FIXME|XXX)\b/, why: "file an issue" },
];

/** Lines; what is longer is two things. Functions are held to 70 lines by the linter. */
const FILE_LINES = 300;

const ignored = new Set([".git", ...readFileSync(join(ROOT, ".gitignore"), "utf8").split(/\s+\/?/)]);
const tracked = readdirSync(ROOT, { withFileTypes: true })
  .filter(({ name }) => !ignored.has(name))
  .flatMap((entry) =>
    entry.isDirectory()
      ? readdirSync(join(ROOT, entry.name), { withFileTypes: true, recursive: true })
      : [entry],
  )
  .filter((entry) => entry.isFile())
  .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).replaceAll(sep, "/"));
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const sources = tracked.filter((file) => /^src\/.*\.ts$/.test(file));
const partOf = (file: string): string => file.split("/")[1] ?? "";
const packageOf = (specifier: string): string =>
  specifier.startsWith("node:") ? specifier : (specifier.split("/")[0] ?? "");

type Import = { readonly from: string; readonly specifier: string; readonly typeOnly: boolean };

function importsOf(file: string): Import[] {
  const text = read(file);
  const written = text.matchAll(/^(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)";/gm);
  const dynamic = text.matchAll(/()\bimport\("([^"]+)"\)/g);
  return [...written, ...dynamic].map(([, type, specifier = ""]) => ({
    from: file,
    specifier,
    typeOnly: type !== undefined && type !== "",
  }));
}

describe("imports", () => {
  const imports = sources.flatMap(importsOf);

  test("arrows between the parts go down only", () => {
    const wrong = imports.filter(({ from, specifier, typeOnly }) => {
      const part = partOf(from);
      if (!specifier.startsWith(".") || ANYTHING.includes(part)) return false;
      const to = partOf(posix.join(posix.dirname(from), specifier));
      return to !== part && !MAY_IMPORT[part]?.[typeOnly ? "type" : "value"].includes(to);
    });
    expect(wrong).toEqual([]);
  });

  test("every part has its row in the table", () => {
    const parts = new Set(sources.map(partOf));
    expect([...parts].filter((part) => !(part in MAY_IMPORT) && !ANYTHING.includes(part))).toEqual([]);
  });

  test("packages and Node's own modules stay where they belong", () => {
    const wrong = imports.filter(({ from, specifier, typeOnly }) => {
      const places = PACKAGES[packageOf(specifier)];
      if (specifier.startsWith(".") || typeOnly) return false;
      return places === undefined ? !specifier.startsWith("node:") : !places.includes(partOf(from));
    });
    expect(wrong).toEqual([]);
  });
});

describe("text", () => {
  const texts = tracked.filter(
    (file) => /\.(ts|js|md|yaml|json|sh)$/.test(file) && file !== "package-lock.json",
  );

  test.each(BANNED)("not $words: $why", ({ words, in: where = /^/, except }) => {
    const found = texts
      .filter((file) => where.test(file) && except?.test(file) !== true && file !== "test/tidy.test.ts")
      .flatMap((file) =>
        read(file)
          .split("\n")
          .flatMap((line, index) =>
            words.test(uncommented(file, line)) ? [`${file}:${index + 1}: ${line.trim()}`] : [],
          ),
      );
    expect(found).toEqual([]);
  });

  test(`no source is longer than ${FILE_LINES} lines`, () => {
    const long = sources.map((file) => ({ file, lines: read(file).split("\n").length - 1 }));
    expect(long.filter(({ lines }) => lines > FILE_LINES)).toEqual([]);
  });

  test("every source begins with what it decides", () => {
    expect(sources.filter((file) => !/^(#!.*\n)?(\/\/ |\/\*\*)/.test(read(file)))).toEqual([]);
  });
});

/** A comment may name what the code may not; only a directive in one counts. */
function uncommented(file: string, line: string): string {
  if (!file.endsWith(".ts") || /\/\/ (@ts-|oxlint)/.test(line)) return line;
  return /^\s*(\/\/|\*|\/\*)/.test(line) ? "" : line.replace(/(^|\s)\/\/ .*$/, "");
}

test("every line that an invariant rests on stands where test/slow/mutations.ts says", () => {
  const moved = MUTATIONS.flatMap(([, , mutations]) => mutations).filter(
    ([file, line]) => !readFileSync(join(ROOT, "src", file), "utf8").includes(line),
  );
  expect(moved).toEqual([]);
});

// How the young generation is kept (docs/performance.md) is read by V8 at the start of a process only.
test("every launcher gives Node the same flags", () => {
  const flags = NODE_FLAGS.join(" ");
  const launchers = {
    "package.json": `node ${flags} src/cli/main.ts run`,
    "deploy/systemd/sallyport.service": `ExecStart=node ${flags} /opt`,
    Dockerfile: `/bin/node", ${flags.replace(/\S+/g, '"$&",').replaceAll(",-", ", -")} "/opt`,
  };
  for (const [file, line] of Object.entries(launchers)) expect(read(file), file).toContain(line);
});

describe("what is generated", () => {
  test("is current: run `npm run docs`", async () => {
    const rendered = await renderAll();
    expect(rendered.filter(({ before, after }) => before !== after).map(({ file }) => file)).toEqual([]);
  });

  test("every reason is documented, and seen in a test", () => {
    const tests = tracked
      .filter((file) => file.startsWith("test/") && file !== "test/tidy.test.ts")
      .map(read)
      .join("\n");
    const documented = read("docs/reasons.md");
    const reasons = Object.keys(REASONS);
    expect(reasons.filter((reason) => !documented.includes(`\`${reason}\``))).toEqual([]);
    expect(reasons.filter((reason) => !new RegExp(`(?<![\\w-])${reason}(?![\\w-])`).test(tests))).toEqual([]);
  });
});

describe("dependencies", () => {
  const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;

  test("are exact versions", () => {
    const all = Object.entries({ ...manifest["dependencies"], ...manifest["devDependencies"] });
    expect(all.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  test("are locked without the address of a registry", () => {
    const lock = read("package-lock.json");
    expect(lock).not.toContain('"resolved"');
    expect(lock).not.toMatch(/https?:\/\/[^"]*\.tgz/);
  });

  test("no file names the registries that this machine is set up with", () => {
    // Those that a shipped preset covers are everybody's, and say nothing about a machine.
    const zones = [
      ...read("test/fixtures/common-dependencies.json").matchAll(/[a-z0-9-]+(?:\.[a-z0-9-]+)+/g),
    ].map(String);
    const hosts = registries().filter(
      (host) => !zones.some((zone) => host === zone || host.endsWith(`.${zone}`)),
    );
    const naming = tracked.filter((file) => hosts.some((host) => read(file).includes(host)));
    expect(naming).toEqual([]);
  });
});

function registries(): string[] {
  const asked: [string, string[]][] = [
    ["npm", ["config", "get", "registry"]],
    ["apt-get", ["indextargets", "--format", "$(SITE)"]],
  ];
  const answers = asked.map(([command, args]) => {
    try {
      return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    } catch {
      return ""; // a machine without it has none to name
    }
  });
  return [
    ...new Set([...answers.join("\n").matchAll(/https?:\/\/([^/:\s]+)/g)].map(([, host = ""]) => host)),
  ];
}
