// Secrets over every way that a request can take: where it is https, what the proxy puts in reaches the origin; everywhere else nothing does.

import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingHttp2Origin, type RecordingHttp2Origin } from "../support/recording-http2-origin.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { BALANCER, send, WAYS } from "./verdict-ways.ts";
import { exchanges, settled } from "../support/audit-records.ts";

const TOKEN = "s3cr3t-token-of-origin";
const KEY = "query~key/0123456789";

let ca: Issued;
let trust: string;
let plain: RecordingOrigin;
let secure: RecordingOrigin;
let secureHttp2: RecordingHttp2Origin;
beforeAll(async () => {
  ca = createCa();
  trust = await trustFile(ca);
  const certificate = ca.issue({ names: ["origin.test"] });
  plain = await recordingOrigin();
  secure = await recordingOrigin(certificate);
  secureHttp2 = await recordingHttp2Origin(certificate);
});
afterAll(async () => {
  for (const each of [plain, secure, secureHttp2]) await each[Symbol.asyncDispose]();
});

test.each(WAYS)("$name", async (way) => {
  const origin = way.inside === "http" ? plain : way.origin === "h2" ? secureHttp2 : secure;
  for (const each of [plain, secure, secureHttp2]) each.reset();
  const http2 = way.origin === "h2" ? ", http2: always" : "";
  const secrets = `
    secrets:
      - { name: token, value: ${TOKEN}, hosts: [origin.test], as: bearer }
      - { name: key, value: "${KEY}", hosts: [origin.test], as: { query: key } }`;
  const allow = "allow: [{ host: origin.test, networks: [127.0.0.0/8] }]";
  await using proxy = await runSallyport(`
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1] }${http2} }
tls: { names: [proxy.test] }
proxy_protocol: ["${BALANCER}"]
${way.door === "redirected" ? `transparent: [{ listen: "127.0.0.1:0", port: ${origin.port}, sandbox: ${way.sandbox} }]` : ""}
${way.yaml}
policies:
  limited: { ${allow}, methods: read-only }
  open:
    methods: all
    ${allow}${secrets}
  spliced:
    methods: all
    ${allow}
    splice: [origin.test]
sandboxes:
  - { id: ${way.sandbox}, secret: ${way.sandbox}-secret, policy: ${way.spliced ? "spliced" : "open"} }
`);
  const asking = { proxy, way, originPort: origin.port, ca: ca.cert, pseudonym: "" };
  const { told } = await send(asking, {
    name: "secrets",
    path: "/a?key=mine&x=1",
    headers: "Authorization: Bearer placeholder\r\n",
  });
  const found = exchanges(await proxy.recorded((all) => all.length > 0 && settled(all))).at(-1);

  if (way.inside === "http") {
    expect(told).toMatchObject({ status: 403 });
    expect(found?.decision["reason"]).toBe("secret-needs-tls");
    expect(origin.received).toBe("");
    return;
  }
  const target = way.spliced ? "/a?key=mine&x=1" : `/a?x=1&key=${encodeURIComponent(KEY)}`;
  expect(origin.received).toContain(target);
  if (way.origin === "h2") return;
  expect(origin.received.match(/^authorization: .*/gim)).toEqual([
    `Authorization: Bearer ${way.spliced ? "placeholder" : TOKEN}`,
  ]);
  expect(found?.decision["secrets"]).toEqual(way.spliced ? undefined : ["token", "key"]);
});
