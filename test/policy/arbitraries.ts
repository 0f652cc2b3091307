// Policies and facts for properties: few hosts and ports, so that rules meet what is asked.

import * as fc from "fast-check";
import type { DecideFacts } from "../../src/policy/grant.ts";
import type { Methods } from "../../src/policy/types.ts";
import { connect, NOW, request, type PolicyText, type RuleText } from "./support.ts";

export const host = fc.constantFrom(
  "a.test",
  "b.test",
  "x.a.test",
  "x-1.a.test",
  "test",
  "xn--bcher-kva.test",
  "192.0.2.1",
);
export const pattern = fc.constantFrom(
  "a.test",
  "b.test",
  "*.test",
  "**.test",
  "*.a.test",
  "**.a.test",
  "x-*.a.test",
  "x*.test",
  "xn--bcher-kva.test",
  "192.0.2.1",
  "192.0.2.0/24",
);
export const methods = fc.constantFrom<Methods[]>("all", [], ["GET"], ["POST"], ["GET", "POST"]);
export const NARROWED = {
  host: pattern,
  methods: methods.filter((value) => value.length > 0),
  ports: fc.constantFrom([443], [80, 443], [8443]),
  expires: fc.constantFrom(NOW, NOW + 1),
};
const paths = fc.constantFrom(["/x"], ["/x/**"], ["/*", "/**"]);
export const rule: fc.Arbitrary<RuleText> = fc.record({ ...NARROWED, paths }, { requiredKeys: ["host"] });
const rules = fc.array(rule, { maxLength: 4 });
export const policy: fc.Arbitrary<PolicyText> = fc.record({
  presets: fc.constantFrom([], [{ name: "all", patterns: [] }], [{ name: "t", patterns: ["**.a.test"] }]),
  methods,
  intents: fc.constantFrom([], ["git-fetch"] as const),
  mode: fc.constantFrom("enforce", "report-only"),
  allow: rules,
  deny: rules,
  splice: rules,
});
const flag = fc.constantFrom(false, false, false, true);
export const facts: fc.Arbitrary<DecideFacts> = fc
  .record({
    stage: fc.constantFrom("connect", "request"),
    method: fc.constantFrom("GET", "POST", "TRACE"),
    host,
    port: fc.constantFrom(443, 80, 8443),
    path: fc.constantFrom(
      "/x",
      "/x/y",
      "/x%2fy",
      "/a%252f",
      "/r/git-upload-pack",
      "/i?service=git-receive-pack",
    ),
    flags: fc.record({ upgrade: flag, body: flag, methodOverride: flag }),
  })
  .map(({ stage, method, host, port, path, flags }) =>
    stage === "connect"
      ? connect(`${host}:${port}`)
      : request(`${method} https://${host}:${port}${path}`, flags),
  );
