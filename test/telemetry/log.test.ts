import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { Secret } from "../../src/net/secret.ts";
import {
  createLog,
  type Log,
  type LoggedDecision,
  type LoggedSubject,
  type LogOptions,
  wantsColour,
} from "../../src/telemetry/log.ts";

const subject: LoggedSubject = {
  kind: "request",
  sandbox: "ci-runner",
  method: "GET",
  scheme: "https",
  host: "pypi.org",
  port: 443,
  path: "/simple/",
};
const allow: LoggedDecision = {
  verdict: "allow",
  reason: undefined,
  rule: { id: "preset:pypi" },
  handling: undefined,
  wouldDeny: undefined,
};
const deny: LoggedDecision = { ...allow, verdict: "deny", reason: "host-not-allowed", rule: undefined };

type Kept = {
  readonly log: Log;
  readonly lines: string[];
  readonly taken: { room: number };
  dropped: number;
};

function keep(options: Partial<LogOptions> = {}, isTTY = false): Kept {
  const lines: string[] = [];
  const taken = { room: Infinity };
  const stream = {
    isTTY,
    write: (line: string) => taken.room-- > 0 && lines.push(line) > 0,
    close: () => Promise.resolve(),
  };
  const kept = { lines, taken, dropped: 0 };
  const log = createLog({
    level: "info",
    format: "auto",
    stream,
    paths: true,
    env: {},
    onDrop: () => kept.dropped++,
    ...options,
  });
  return Object.assign(kept, { log });
}

const withoutTime = (line: string | undefined): string => (line ?? "").replace(/^\d\d:\d\d:\d\d /, "");

describe("JSON", () => {
  test("a decision is one object", () => {
    const { log, lines } = keep();
    log.decision(subject, deny, "01J");
    const { time, ...rest } = JSON.parse(lines[0] ?? "");
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(rest).toEqual({
      level: "info",
      msg: "decision",
      verdict: "deny",
      reason: "host-not-allowed",
      sandbox: "ci-runner",
      kind: "request",
      method: "GET",
      scheme: "https",
      host: "pypi.org",
      port: 443,
      path: "/simple/",
      id: "01J",
    });
  });

  test("messages carry fields, and errors their causes", () => {
    const { log, lines } = keep();
    const cause = Object.assign(new Error("connect failed"), { code: "ECONNREFUSED" });
    log.warn("dial failed", {
      attempts: 2,
      error: new ProxyFault("upstream-refused", cause),
      files: ["a", "b"],
    });
    const { time: _, ...rest } = JSON.parse(lines[0] ?? "");
    expect(rest).toEqual({
      level: "warn",
      msg: "dial failed",
      attempts: 2,
      error: "The origin refused the connection.: connect failed (ECONNREFUSED)",
      files: ["a", "b"],
    });
  });

  test("stacks stand at debug only", () => {
    const [info, debug] = [keep(), keep({ level: "debug" })];
    for (const { log } of [info, debug]) log.error("failed", { error: new Error("boom") });
    expect([info, debug].map(({ lines }) => lines[0]?.includes("log.test.ts"))).toEqual([false, true]);
    expect(debug.lines[0]?.split("\n")).toHaveLength(2);
  });
});

describe("at a terminal", () => {
  test.each<[string, Partial<LoggedSubject>, LoggedDecision, string]>([
    ["allowed", {}, allow, "✓ ci-runner GET pypi.org/simple/ preset:pypi\n"],
    [
      "denied",
      { method: "POST", host: "attacker.example", path: "/collect" },
      deny,
      "✗ ci-runner POST attacker.example/collect host-not-allowed\n",
    ],
    [
      "anonymous, odd port",
      { sandbox: undefined, port: 8443 },
      allow,
      "✓ anonymous GET pypi.org:8443/simple/ preset:pypi\n",
    ],
    [
      "an IPv6 literal",
      { host: "2001:db8::1", port: 80, path: "/" },
      deny,
      "✗ ci-runner GET [2001:db8::1]/ host-not-allowed\n",
    ],
    [
      "a fault",
      {},
      { ...allow, verdict: "fault", reason: "dns-failed" },
      "! ci-runner GET pypi.org/simple/ dns-failed\n",
    ],
    [
      "report-only",
      {},
      { ...allow, wouldDeny: { reason: "method-not-allowed" } },
      "✓ ci-runner GET pypi.org/simple/ would be denied: method-not-allowed\n",
    ],
    [
      "no request at all",
      { kind: "handshake", method: undefined, path: undefined },
      { ...deny, reason: "handshake-failed" },
      "✗ ci-runner handshake pypi.org handshake-failed\n",
    ],
    [
      "nothing known",
      {
        kind: "malformed",
        sandbox: undefined,
        method: undefined,
        host: undefined,
        port: undefined,
        path: undefined,
      },
      { ...deny, reason: "request-malformed" },
      "✗ anonymous malformed request-malformed\n",
    ],
  ])("%s", (_name, change, decision, expected) => {
    const { log, lines } = keep({}, true);
    log.decision({ ...subject, ...change }, decision, "01J");
    expect(withoutTime(stripVTControlCharacters(lines[0] ?? ""))).toBe(expected);
  });

  test("the verdict has a colour", () => {
    const { log, lines } = keep({}, true);
    log.decision(subject, allow, "01J");
    log.decision(subject, deny, "01J");
    expect(
      lines.map((line) => [line.includes("\u001b[32m✓\u001b[39m"), line.includes("\u001b[31m✗\u001b[39m")]),
    ).toEqual([
      [true, false],
      [false, true],
    ]);
  });

  test("messages are one line, fields in quotes where they need them", () => {
    const { log, lines } = keep({ format: "pretty" });
    log.info("listening", { at: "127.0.0.1:3128" });
    log.error("cannot bind", { error: new Error("address in use") });
    expect(lines.map(withoutTime)).toEqual([
      "listening at=127.0.0.1:3128\n",
      'error: cannot bind error="address in use"\n',
    ]);
  });

  test("an intercepted CONNECT leaves the line to its requests; a spliced or denied one has it", () => {
    const { log, lines } = keep({ format: "pretty" });
    const connect = { ...subject, kind: "connect", method: "CONNECT", path: undefined };
    log.decision(connect, { ...allow, handling: "intercept" }, "1");
    log.decision(
      connect,
      { ...allow, handling: "intercept", wouldDeny: { reason: "host-not-allowed" } },
      "2",
    );
    log.decision(connect, { ...allow, handling: "splice" }, "3");
    log.decision(connect, deny, "4");
    expect(lines.map((line) => withoutTime(line)[0])).toEqual(["✓", "✓", "✗"]);
    const debug = keep({ format: "pretty", level: "debug" });
    debug.log.decision(connect, { ...allow, handling: "intercept" }, "1");
    expect(debug.lines).toHaveLength(1);
  });

  test("an allowed DNS question leaves the line to what follows; a denied one has it", () => {
    const { log, lines } = keep({ format: "pretty" });
    const asked = { ...subject, kind: "dns", method: "A", path: undefined };
    log.decision(asked, { ...allow, handling: undefined }, "1");
    log.decision(asked, deny, "2");
    expect(lines.map((line) => withoutTime(line)[0])).toEqual(["✗"]);
  });
});

describe("what a sandbox sends cannot act on the reader", () => {
  const hostile = '/\u001b[2J\n{"level":"info"}\r\u202e\u2028\u0085\u007f\u{1f480}\ud800"\\';
  test.each(["json", "pretty"] as const)("%s", (format) => {
    const { log, lines } = keep({ format });
    log.decision({ ...subject, method: "G\u001b]0;x\u0007", path: hostile, host: "a\nb" }, deny, "01J");
    log.warn(`odd ${hostile}`, { [`k\u202e`]: hostile, error: new Error(hostile) });
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toMatch(format === "json" ? /^[ -~]+\n$/ : /^[ -~✗…]+\n$/);
    if (format === "json") expect(JSON.parse(lines[0] ?? "").path).toBe(hostile.replace("\ud800", "\ufffd"));
  });

  test("long text is cut", () => {
    const { log, lines } = keep();
    const pretty = keep({ format: "pretty" });
    for (const kept of [log, pretty.log])
      kept.decision({ ...subject, path: `/${"x".repeat(60_000)}` }, deny, "01J");
    expect(lines[0]?.length).toBeLessThan(3_000);
    expect(pretty.lines[0]?.length).toBeLessThan(300);
  });
});

describe("secrets", () => {
  test("do not print", () => {
    for (const format of ["json", "pretty"] as const) {
      const { log, lines } = keep({ format, level: "debug" });
      const secret = new Secret("hunter2");
      log.info("parent", {
        url: "http://user:hunter2@proxy.example:8080/",
        password: "hunter2",
        Authorization: "Basic hunter2",
      });
      log.info(`at http://user:hun@ter:hunter2@proxy.example/ and ${secret}`, {
        secret: secret as unknown as string,
      });
      log.error("failed", {
        error: new Error("no answer from https://token:hunter2@git.example/x"),
        list: ["ftp://hunter2@x"],
      });
      log.decision({ ...subject, path: "/a?key=hunter2" }, deny, "1");
      expect(lines).toHaveLength(4);
      expect(lines.join("")).not.toContain("hunter2");
    }
  });

  test("paths stay out where the privacy level says so", () => {
    for (const format of ["json", "pretty"] as const) {
      const { log, lines } = keep({ format, paths: false });
      log.decision({ ...subject, path: "/private" }, deny, "1");
      expect(lines[0]).not.toContain("private");
    }
  });
});

test("lines that the stream does not take are counted, and told of once it does", () => {
  const kept = keep({ format: "pretty" });
  kept.log.info("one");
  kept.taken.room = 0;
  for (let n = 0; n < 5; n++) kept.log.info("lost");
  kept.taken.room = 10;
  kept.log.info("two");
  kept.log.info("three");
  expect(kept.lines.map(withoutTime)).toEqual([
    "one\n",
    "warning: log lines were given up lines=5\n",
    "two\n",
    "three\n",
  ]);
  expect(kept.dropped).toBe(5);
});

test("the level decides what is written", () => {
  const written = (["debug", "info", "warn", "error", "silent"] as const).map((level) => {
    const { log, lines } = keep({ level });
    log.debug("d");
    log.info("i");
    log.warn("w");
    log.error("e");
    return lines.length;
  });
  expect(written).toEqual([4, 3, 2, 1, 0]);
});

test.each<[Record<string, string>, boolean, boolean]>([
  [{}, true, true],
  [{}, false, false],
  [{ NO_COLOR: "1" }, true, false],
  [{ NO_COLOR: "" }, true, true],
  [{ FORCE_COLOR: "1" }, false, true],
  [{ FORCE_COLOR: "" }, false, true],
  [{ FORCE_COLOR: "0" }, true, false],
  [{ FORCE_COLOR: "false" }, true, false],
  [{ FORCE_COLOR: "1", NO_COLOR: "1" }, false, true],
  [{ TERM: "dumb" }, true, false],
])("colour for %j at a terminal (%s): %s", (env, isTTY, expected) => {
  expect(wantsColour(env, isTTY)).toBe(expected);
});
