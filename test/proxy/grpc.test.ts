// gRPC clients that are refused: the reason and the audit id as a gRPC status, in a head that is the whole answer.

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { answerOf, http2Client } from "../support/http2.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, exchanges, settled } from "./wire.ts";
import { trustFile } from "./trust-file.ts";

let origin: RecordingOrigin;
let closed: number;
let proxy: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  const ca = createCa();
  const gone = await recordingOrigin();
  closed = gone.port;
  await gone[Symbol.asyncDispose]();
  origin = await recordingOrigin(ca.issue({ names: ["origin.test", "fetch.test"] }));
  const hosts = ["origin.test", "fetch.test", "private.test"]
    .map((name) => `${name}: [127.0.0.1]`)
    .join(", ");
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { ${hosts} } }
anonymous: default
limits: { response_head: 500ms, body_idle: 500ms, drain: 500ms }
policies:
  default:
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: fetch.test, networks: [127.0.0.0/8], methods: [GET] }
      - { host: private.test }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  origin.behave(() => {});
  origin.reset();
});

/** A message of no octets (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const MESSAGE = Buffer.alloc(5);
const CALL = { ":method": "POST", ":path": "/shop.Orders/Place", te: "trailers" };
const call = async (host: string, changes: Record<string, string> = {}, { ended = true } = {}) => {
  using client = await http2Client(proxy.port, { authority: host, trustAnchor: proxy.trustAnchor });
  const stream = client.session.request({ ...CALL, "content-type": "application/grpc", ...changes });
  const answer = answerOf(stream);
  if (ended) stream.end(MESSAGE);
  else stream.write(MESSAGE);
  return await answer;
};

test.each<[string, () => string, Record<string, string>, [number, string]]>([
  ["a verdict", () => `fetch.test:${origin.port}`, {}, [7, "method-not-allowed"]],
  ["an address", () => `private.test:${origin.port}`, {}, [7, "address-loopback"]],
  ["what is malformed", () => `origin.test:${origin.port}`, { ":path": "/a%zz" }, [13, "target-malformed"]],
  ["a bound", () => `origin.test:${origin.port}`, { "content-length": "10" }, [8, "request-timeout"]],
  ["a fault", () => `origin.test:${closed}`, {}, [14, "upstream-refused"]],
  ["a fault of time", () => `origin.test:${origin.port}`, {}, [4, "upstream-read-timeout"]],
])("%s", async (_name, host, changes, [code, reason]) => {
  const answer = await call(host(), changes, { ended: !("content-length" in changes) });
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({
    "content-type": "application/grpc",
    "grpc-status": String(code),
    "sallyport-reason": reason,
  });
  const id = answer.headers["sallyport-audit-id"];
  expect(answer.headers["grpc-message"]).toBe(
    `sallyport: ${reason}: ${String(answer.headers["grpc-message"]).split(": ").slice(2).join(": ")}`,
  );
  expect(answer.headers["grpc-message"]).toContain(`audit ${String(id)}`);
  expect(answer.headers["proxy-status"]).toContain(reason);
  // Trailers-Only: the head is all there is.
  expect([answer.body, answer.trailers, answer.headers["content-length"]]).toEqual([
    "",
    undefined,
    undefined,
  ]);
  const records = exchanges((await proxy.recorded(settled)).slice(recorded));
  const one = records.find(({ decision }) => decision["id"] === id);
  expect(one?.completion).toMatchObject({ reason, status: 200 });
});

test.each([
  ["application/grpc+proto", 200, "7"],
  ["application/grpc; charset=utf-8", 200, "7"],
  ["Application/gRPC", 200, "7"],
  ["application/grpc-web", 403, undefined],
  ["application/grpc-web+proto", 403, undefined],
  ["application/grpcx", 403, undefined],
  ["application/json", 403, undefined],
])("content type %s: %i", async (type, status, grpc) => {
  const answer = await call(`fetch.test:${origin.port}`, { "content-type": type });
  expect([answer.status, answer.headers["grpc-status"]]).toEqual([status, grpc]);
  expect(answer.headers["sallyport-reason"]).toBe("method-not-allowed");
});

test("over HTTP/1.1 it is an ordinary refusal", async () => {
  await using wire = await dialPort(proxy.port);
  wire.write(
    "POST http://nobody.test/ HTTP/1.1\r\nHost: nobody.test\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
  );
  const answer = await wire.answer();
  expect([answer.status, answer.field("grpc-status")]).toEqual([403, undefined]);
});
