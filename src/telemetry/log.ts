// The diagnostic log: one line a decision and a few about the proxy itself; JSON for machines, a short line for a terminal. It must never
// block the data path, print a secret, or let a sandbox's text act on whoever reads it. The durable record is the audit's, not this one.

import { pino } from "pino";
import type { Reason } from "../net/reasons.ts";
import { printable, withoutCredentials } from "./escape.ts";
import type { LogStream } from "./log-stream.ts";
import { type LogLine, prettyLine } from "./pretty.ts";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
export type LogFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | Error | undefined>
>;

/** What of the audit's subject is logged; strings come from the sandbox. */
export type LoggedSubject = {
  readonly kind: string;
  readonly sandbox: string | undefined;
  readonly method: string | undefined;
  readonly scheme: string | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** Without its query, which is not logged. */
  readonly path: string | undefined;
};

/** What of the audit's decision is logged. */
export type LoggedDecision = {
  readonly verdict: "allow" | "deny" | "fault";
  readonly reason: Reason | undefined;
  readonly rule: { readonly id: string } | undefined;
  readonly handling: "intercept" | "splice" | "tcp" | undefined;
  readonly wouldDeny: { readonly reason: Reason } | undefined;
};

export type Log = {
  /** At `info`; an allowed DNS question or CONNECT to be intercepted at `debug`, as what follows has lines of its own. */
  decision(subject: LoggedSubject, decision: LoggedDecision, id: string): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Waits for what is queued, for at most a second. */
  close(): Promise<void>;
};

export type LogOptions = {
  readonly level: LogLevel;
  /** `auto`: pretty on a terminal, JSON otherwise. */
  readonly format: "auto" | "pretty" | "json";
  readonly stream: LogStream;
  /** Whether paths stand in the lines; not where the privacy level forbids them. */
  readonly paths: boolean;
  /** Stands in each line, where there are several. */
  readonly worker?: number;
  /** For NO_COLOR, FORCE_COLOR and TERM. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told of each line that was given up. */
  readonly onDrop: () => void;
};

export function createLog(options: LogOptions): Log {
  const { level, paths, stream } = options;
  const logger = pino(
    {
      level,
      base: options.worker === undefined ? null : { worker: options.worker },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: lineWriter(options) },
  );
  const stacks = logger.isLevelEnabled("debug");
  const lines = logger.isLevelEnabled("info");
  const said = (fields: LogFields): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [
        key,
        SECRET_KEYS.has(key.toLowerCase()) ? "[secret]" : loggable(value, stacks),
      ]),
    );

  return {
    decision(subject, { verdict, reason, rule, handling, wouldDeny }, id) {
      const { kind, sandbox, method, scheme, host, port, path } = subject;
      const leads = kind === "dns" || (kind === "connect" && handling === "intercept");
      const quiet = leads && verdict === "allow" && wouldDeny === undefined;
      if (!(quiet ? stacks : lines)) return;
      const line = {
        verdict,
        reason,
        wouldDeny: wouldDeny?.reason,
        sandbox,
        kind,
        method,
        scheme,
        host,
        port,
      };
      const shown = paths ? path?.split("?", 1)[0]?.slice(0, LONGEST_PATH).toWellFormed() : undefined;
      logger[quiet ? "debug" : "info"]({ ...line, path: shown, rule: rule?.id, id }, "decision");
    },
    debug: (message, fields = {}) => logger.debug(said(fields), withoutCredentials(message)),
    info: (message, fields = {}) => logger.info(said(fields), withoutCredentials(message)),
    warn: (message, fields = {}) => logger.warn(said(fields), withoutCredentials(message)),
    error: (message, fields = {}) => logger.error(said(fields), withoutCredentials(message)),
    close: () => stream.close(),
  };
}

/** Gives lines to the stream in the format asked for, and says how many were given up once it takes lines again. */
function lineWriter({ format, stream, env, onDrop }: LogOptions): (json: string) => void {
  const pretty = format === "pretty" || (format === "auto" && stream.isTTY);
  const colour = pretty && wantsColour(env, stream.isTTY);
  const render = (json: string): string =>
    // Inside JSON the escapes mean the characters themselves.
    pretty ? prettyLine(JSON.parse(json) as LogLine, colour) : `${printable(json.trimEnd())}\n`;
  let dropped = 0;
  const note = () =>
    JSON.stringify({
      level: "warn",
      time: new Date().toISOString(),
      msg: "log lines were given up",
      lines: dropped,
    });
  return (json) => {
    if (dropped > 0 && stream.write(render(note()))) dropped = 0;
    if (dropped === 0 && stream.write(render(json))) return;
    dropped++;
    onDrop();
  };
}

/** https://no-color.org; FORCE_COLOR as Node reads it, which goes before. */
export function wantsColour(env: LogOptions["env"], isTTY: boolean): boolean {
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: term } = env;
  if (force !== undefined) return force !== "0" && force !== "false";
  if (no !== undefined && no !== "") return false;
  return isTTY && term !== "dumb";
}

function loggable(value: LogFields[string], stacks: boolean): unknown {
  if (typeof value === "string") return withoutCredentials(value);
  if (!(value instanceof Error))
    return Array.isArray(value) ? value.map((text) => withoutCredentials(String(text))) : value;
  const text = withoutCredentials(describe(value));
  return stacks && value.stack !== undefined ? `${text}\n${withoutCredentials(value.stack)}` : text;
}

/** The messages and codes of an error and its causes, outermost first. */
function describe(error: Error): string {
  const texts: string[] = [];
  for (let at: unknown = error; at instanceof Error && texts.length < MAX_CAUSES; at = at.cause) {
    const code =
      "code" in at && typeof at.code === "string" && !at.message.includes(at.code) ? ` (${at.code})` : "";
    texts.push(`${at.message}${code}`);
  }
  return texts.join(": ");
}

const SECRET_KEYS = new Set([
  "secret",
  "password",
  "token",
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
]);
const LONGEST_PATH = 2_048;
const MAX_CAUSES = 5;
