// gRPC clients that are refused: the reason and the audit id as a gRPC status, in a head that is the whole answer.

import { expect, test } from "vitest";
import { answerOf } from "../support/http2.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { dialPort } from "./wire.ts";
import { exchanges } from "../support/audit-records.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const gone = await recordingOrigin();
const { port: closed } = gone;
await gone[Symbol.asyncDispose]();
const {
  client: open,
  origin,
  proxy,
  recorded,
} = await http2SetUp({
  names: ["origin.test", "fetch.test", "private.test"],
  top: "limits: { response_head: 500ms, body_idle: 500ms, drain: 500ms }",
  policy: `
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: fetch.test, networks: [127.0.0.0/8], methods: [GET] }
      - { host: private.test }`,
  behaviour: () => {},
});

/** A message of no octets (gRPC over HTTP/2, "Length-Prefixed-Message"). */
const MESSAGE = Buffer.alloc(5);
const CALL = { ":method": "POST", ":path": "/shop.Orders/Place", te: "trailers" };
const call = async (host: string, changes: Record<string, string> = {}, { ended = true } = {}) => {
  using client = await open(host);
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
  const records = exchanges(await recorded());
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
