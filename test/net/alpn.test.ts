import { expect, test } from "vitest";
import { alpnList } from "../../src/net/alpn.ts";

test("each protocol stands behind its length (RFC 7301 §3.1), outside of the pool of Buffers", () => {
  const list = alpnList(["h2", "http/1.1"]);
  expect(Buffer.from(list.buffer).toString("latin1")).toBe("\x02h2\x08http/1.1");
  expect(list.buffer.byteLength).toBe(12);
});
