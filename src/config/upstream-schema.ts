// The keys of `upstream`: how origins are found, reached and verified.

import * as z from "zod";
import { count, duration, path, resolver, staticHosts } from "./values.ts";

export const upstream = z.strictObject({
  trust: z
    .array(path, "expected a list of trust anchors: system, bundled, and files")
    .min(1, "an empty list trusts no origin at all")
    .prefault(["system", "bundled"])
    .describe(
      "Trust anchors that origins are verified against: `system`, `bundled` (Mozilla's, as Node ships them), and PEM files.",
    ),
  crls: z
    .array(path, "expected a list of files")
    .prefault([])
    .describe("Revocation lists (PEM files) for origins' certificates."),
  hosts: staticHosts
    .prefault({})
    .describe("Static answers, ahead of DNS; judged by the address guard like any other."),
  resolvers: z
    .array(resolver, "expected a list of name servers")
    .min(1, "expected at least one name server")
    .optional()
    .describe("Name servers to ask; absent: the system's resolver."),
  http2: z
    .enum(["auto", "always", "never"])
    .default("auto")
    .describe(
      "Whether origins are offered HTTP/2: `auto` as the request came (what came by HTTP/1.1 goes on by it, unless the origin speaks HTTP/2 alone), `always`, or `never`.",
    ),
  pool: z
    .strictObject({
      per_origin: count(1, 10_000)
        .default(64)
        .describe("Idle connections kept to one origin for one sandbox."),
      total: count(1, 100_000).default(2_048).describe("Connections to all origins together."),
      idle: duration("100ms", "10m")
        .prefault("4s")
        .describe("How long an unused connection to an origin is kept."),
    })
    .prefault({})
    .describe("Connections to origins."),
});
