// What `sallyport explain` says of a request and what the proxy does with it: the same reason, for requests made up at random
// of hosts, ports, methods and paths that are near a rule.

import * as fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { readAsked, walk } from "../../src/cli/explain.ts";
import { loadConfig } from "../../src/config/load.ts";
import { parseAddress } from "../../src/net/address.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

const origin = await recordingOrigin();
const proxy = await runSallyport(`
upstream: { hosts: { a.test: [127.0.0.1], b.test: [127.0.0.1], x.c.test: [127.0.0.1], c.test: [127.0.0.1], d.test: [10.0.0.1],
  e.test: [127.0.0.1], api-1.part.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    preset: none
    intents: [git-fetch]
    allow:
      - { host: a.test, networks: [127.0.0.0/8], paths: ["/ok/**", "/@scope/*"] }
      - { host: b.test, networks: [127.0.0.0/8], methods: [POST, GET], ports: [${origin.port}] }
      - { host: "**.c.test", networks: [127.0.0.0/8], methods: all }
      - { host: d.test }
      - { host: "api-*.part.test", networks: [127.0.0.0/8] }
      - { host: 127.0.0.1, ports: [${origin.port}], networks: [127.0.0.0/8] }
      - { host: e.test, networks: [127.0.0.0/8], expires: 2020-01-01 }
    deny: [{ host: x.c.test, paths: ["/no/**"] }, { host: b.test, methods: [PUT] }]
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

const METHODS = ["GET", "POST", "PUT", "HEAD", "OPTIONS", "get", "DELETE", "TRACE", "PROPFIND"];
const HOSTS =
  `a.test A.test b.test x.c.test c.test d.test e.test api-1.part.test api-1.part.test. 127.0.0.1 127.1 0x7f.1
  nope.test xn--a.test a.test.evil.test [::1] [::ffff:127.0.0.1] localhost`.split(/\s+/);
const PATHS =
  `/ /ok/a /ok /ok/../x /ok/%2e%2e/x /ok/%2f..%2f/x /ok//x /@scope%2fname /@scope/name /no/x /%6eo/x /no%2fx //no/x
  /x.git/info/refs?service=git-upload-pack /x.git/info/refs?service=git-receive-pack /x.git/git-upload-pack
  /x.git/git-receive-pack /ok/..;/x /ok/%252e /a%00 /ok/%zz /?q=/no/x /ok/\\x`.split(/\s+/);

test("explain and the live proxy agree", async () => {
  const loaded = await loadConfig({ path: undefined, env: {}, cwd: proxy.directory });
  if (!loaded.ok) throw new Error("the file is not valid");
  const snapshot = loaded.snapshot(1);
  const explained = (method: string, url: string): string => {
    const asked = readAsked(method, url);
    if (asked === undefined) return "target-malformed";
    const literal = parseAddress(asked.target.host);
    const addresses = loaded.config.upstream.hosts.get(asked.target.host) ?? (literal ? [literal] : []);
    const found = walk(snapshot, asked, {
      policy: "default",
      at: Date.now(),
      addresses,
      own: [],
      standing: undefined,
    });
    return found.verdict === "allow" ? "allowed" : String(found.reason);
  };
  const lived = async (method: string, url: string, body: string): Promise<string> => {
    using one = await wire(proxy.port);
    const { 1: authority } = /^http:\/\/([^/]*)/.exec(url)!;
    one.send(`${method} ${url} HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n${body}`);
    const answer = await one.until((text) => text.includes("\r\n\r\n"));
    return answer.startsWith("HTTP/1.1 200")
      ? "allowed"
      : String(/^Sallyport-Reason: (.*)\r$/m.exec(answer)?.[1]);
  };
  const request = fc.record({
    method: fc.constantFrom(...METHODS),
    host: fc.constantFrom(...HOSTS),
    other: fc.boolean(),
    path: fc.constantFrom(...PATHS),
  });
  await fc.assert(
    fc.asyncProperty(request, async ({ method, host, other, path }) => {
      // Nobody listens on the other port: a connection refused there was allowed.
      const url = `http://${host}:${other ? 1 : origin.port}${path}`;
      const body = ["POST", "PUT"].includes(method) ? "Content-Length: 1\r\n\r\nx" : "\r\n";
      const live = await lived(method, url, body);
      expect(live === "upstream-refused" ? "allowed" : live).toBe(explained(method, url));
    }),
    { numRuns: 300 },
  );
}, 20_000);
