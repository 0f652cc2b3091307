// What is odd in a request is judged alike over HTTP/1.1 and HTTP/2, and what leaves is the same to the octet: no spelling is better
// said over the one than over the other.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { trustFile } from "../proxy/trust-file.ts";
import { exchanges, settled, Wire } from "../proxy/wire.ts";
import { Frames } from "../support/http2-frames.ts";
import { tunnelTls } from "../support/http2.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";

let origin: RecordingOrigin;
let proxy: RunningSallyport;
let authority: string;

beforeAll(async () => {
  const ca = createCa();
  origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
  origin.behave(answerRequests(() => OK.replace("\r\n", "\r\nConnection: close\r\n")));
  authority = `origin.test:${origin.port}`;
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    preset: none
    methods: read-only
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
    deny: [{ host: origin.test, paths: [/secret/**] }]
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(() => origin.reset());

type Asked = {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly field?: readonly [name: string, value: string];
};
type Outcome = { readonly status: number; readonly reason: unknown; readonly left: readonly string[] };

async function outcome(send: () => Promise<number>): Promise<Outcome> {
  origin.reset();
  const before = (await proxy.recorded(settled)).length;
  const status = await send();
  const records = await proxy.recorded((all) => all.length > before + 2 && settled(all));
  const last = exchanges(records.slice(before)).findLast(({ decision }) => decision["kind"] !== "connect");
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
  const socket = await tunnelTls(proxy.port, {
    authority,
    trustAnchor: proxy.trustAnchor,
    alpn: ["http/1.1"],
  });
  await using wire = new Wire(socket);
  const more = field === undefined ? "" : `${field[0]}: ${field[1]}\r\n`;
  wire.write(`${method} ${path} HTTP/1.1\r\nHost: ${host ?? authority}\r\n${more}\r\n`);
  return (await wire.answer(method)).status;
}

async function overHttp2({ method = "GET", path = "/", host, field }: Asked): Promise<number> {
  using frames = await Frames.open(proxy.port, { authority, trustAnchor: proxy.trustAnchor });
  const fields = frames.request({ ":method": method, ":path": path, ":authority": host ?? authority });
  frames.headers(1, field === undefined ? fields : [...fields, field]);
  return (await frames.outcome(1)).status;
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
