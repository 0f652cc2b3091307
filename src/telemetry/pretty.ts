// Log lines for people at a terminal: one line each, what was decided first. Never lets a sandbox's characters through unescaped.

import { styleText } from "node:util";
import { printable } from "./escape.ts";

/** A line as pino writes it, parsed. */
export type LogLine = Readonly<Record<string, unknown>>;

/** Newline included. */
export function prettyLine(line: LogLine, colour: boolean): string {
  const paint: Paint = (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text);
  const time = new Date(String(line["time"])).toTimeString().slice(0, 8);
  const parts = line["verdict"] === undefined ? message(line, paint) : decision(line, paint);
  return `${[paint("dim", time), ...parts].join(" ")}\n`;
}

type Style = Parameters<typeof styleText>[0];
type Paint = (style: Style, text: string) => string;

function decision(line: LogLine, paint: Paint): string[] {
  const text = (key: string): string | undefined => {
    const value = line[key];
    return value === undefined ? undefined : shorten(printable(written(value)));
  };
  const reported = text("wouldDeny");
  const [mark, style] = MARKS[reported === undefined ? (text("verdict") ?? "") : "report-only"] ?? OTHER_MARK;
  const reason = reported === undefined ? text("reason") : `would be denied: ${reported}`;
  return [
    paint(style, mark),
    paint("dim", text("sandbox") ?? "anonymous"),
    text("method") ?? text("kind") ?? "",
    `${authority(text("host"), text("port"))}${text("path") ?? ""}`,
    ...(reason === undefined ? [paint("dim", text("rule") ?? "")] : [paint(style, reason)]),
  ].filter((part) => part !== "");
}

/** Ports that the scheme implies tell nothing. */
function authority(host: string | undefined, port: string | undefined): string {
  if (host === undefined) return "";
  const name = host.includes(":") ? `[${host}]` : host;
  return port === undefined || port === "80" || port === "443" ? name : `${name}:${port}`;
}

function message(line: LogLine, paint: Paint): string[] {
  const { level, time: _time, msg, ...fields } = line;
  const [label, style] = LEVELS[String(level)] ?? ["", "reset"];
  const pairs = Object.entries(fields).map(([key, value]) => {
    const text = printable(written(value));
    return `${paint("dim", `${printable(key)}=`)}${/^[^\s"]+$/.test(text) ? text : JSON.stringify(text)}`;
  });
  return [...(label === "" ? [] : [paint(style, label)]), printable(written(msg ?? "")), ...pairs];
}

function written(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function shorten(text: string): string {
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST)}…`;
}

const MARKS: Readonly<Record<string, readonly [string, Style]>> = {
  allow: ["✓", "green"],
  deny: ["✗", "red"],
  fault: ["!", "magenta"],
  "report-only": ["✓", "yellow"],
};
const OTHER_MARK = ["?", "yellow"] as const;
const LEVELS: Readonly<Record<string, readonly [string, Style]>> = {
  warn: ["warning:", "yellow"],
  error: ["error:", "red"],
  fatal: ["fatal:", "red"],
};
const LONGEST = 160;
