// What is odd in a request is judged alike over HTTP/1.1 and HTTP/2, and what leaves is the same to the octet: no spelling is better
// said over the one than over the other.

import { describe, expect, test } from "vitest";
import { Wire } from "../proxy/wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const { authority, begin, frames, origin, recorded, tls } = await http2SetUp({
  policy: `
    preset: none
    methods: read-only
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
    deny: [{ host: origin.test, paths: [/secret/**] }]`,
});

type Asked = {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly field?: readonly [name: string, value: string];
};
type Outcome = { readonly status: number; readonly reason: unknown; readonly left: readonly string[] };

async function outcome(send: () => Promise<number>): Promise<Outcome> {
  await begin();
  const status = await send();
  const records = await recorded((all) => all.length > 2 && settled(all));
  const last = exchanges(records).findLast(({ decision }) => decision["kind"] !== "connect");
  // Field names keep the case that they came in, and Via says which protocol that was.
  const left = origin.received.split("\r\n").map((line, at) => (at === 0 ? line : lower(line)));
  return {
    status,
    reason: last?.decision["reason"] ?? last?.completion?.["reason"],
    left: left.filter((line) => !line.startsWith("via:")),
  };
}

const lower = (line: string): string => line.replace(/^[^:]*/, (name) => name.toLowerCase());

async function overHttp1({ method = "GET", path = "/", host, field }: Asked): Promise<number> {
  await using wire = new Wire(await tls(["http/1.1"]));
  const more = field === undefined ? "" : `${field[0]}: ${field[1]}\r\n`;
  wire.write(`${method} ${path} HTTP/1.1\r\nHost: ${host ?? authority}\r\n${more}\r\n`);
  return (await wire.answer(method)).status;
}

async function overHttp2({ method = "GET", path = "/", host, field }: Asked): Promise<number> {
  using over = await frames();
  const fields = over.request({ ":method": method, ":path": path, ":authority": host ?? authority });
  over.headers(1, field === undefined ? fields : [...fields, field]);
  return (await over.outcome(1)).status;
}

const PATHS = [
  "/a#b",
  "/a?b#c",
  "/a\\b",
  "/secret/x",
  "/%73ecret/x",
  "/secret%2fx",
  "/secret\\x",
  "/SECRET/x",
  "/a/../secret/x",
  "/a/%2e%2e/secret/x",
  "/a/..;/secret/x",
  "/./secret/x",
  "//secret/x",
  "/secret//x",
  "/secret/x?",
  "/secret;a=b/x",
  '/"',
  "/<x>",
  "/{x}|^`",
  "/%",
  "/%zz",
  "/%00",
  "/%0d%0aX:%20y",
  "/\xe9",
  "/\x7f",
  "/\x01",
  "/?a=%0d%0a",
  "/?a=\xe9",
  "/http://evil.test/",
  "*",
  "",
  "x",
];
const HOSTS = [
  "origin.test.",
  "ORIGIN.test",
  "origin.test:0",
  "origin.test:00443",
  "origin%2etest",
  "[::1]",
  "a@b",
];
const METHODS = ["get", "GeT", "TRACE", "PRI", "M-SEARCH", "GET\t", "\x80"];
const FIELDS: readonly (readonly [name: string, value: string])[] = [
  ["a", "\x80\xff"],
  ["a", "b\tc"],
  ["a", ""],
  ["a", "b\x01c"],
  ["a", "b\x7fc"],
  ["a_b", "c"],
  ["transfer_encoding", "chunked"],
  ["content_length", "5"],
  ["x!#$%&'*+.^`|~", "c"],
  ["x-http-method-override", "DELETE"],
  ["x_method_override", "DELETE"],
  ["forwarded", "for=10.0.0.1"],
  ["proxy-authorization", "Basic YTpi"],
  ["max-forwards", "0"],
  ["content-length", "0"],
  ["content-length", "+0"],
  ["expect", "200-ok"],
  ["range", "bytes=0-,0-,0-"],
  ["te", "trailers"],
];

describe.each<[string, readonly Asked[]]>([
  ["path", PATHS.map((path) => ({ path }))],
  ["host", HOSTS.map((host) => ({ host }))],
  ["method", METHODS.map((method) => ({ method }))],
  ["field", FIELDS.map((field) => ({ field }))],
])("%s", (_kind, all) => {
  test.each(all.map((asked) => ({ name: JSON.stringify(Object.values(asked)[0]), asked })))(
    "$name",
    async ({ asked }) => {
      const first = await outcome(() => overHttp1(asked));
      const second = await outcome(() => overHttp2(asked));
      expect(second).toEqual(first);
      // What is refused leaves nothing, what is not is there.
      expect(first.left[0] === "").toBe(first.reason !== undefined);
    },
  );
});
