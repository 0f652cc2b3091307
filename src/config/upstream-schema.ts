// The keys of `upstream`: how origins are found, reached and verified.

import * as z from "zod";
import { parseProxyUrl } from "../net/proxy-url.ts";
import { hostPattern } from "./rule-schema.ts";
import { count, duration, path, port, resolver, staticHosts, text } from "./values.ts";

const URL_OF_PROXY =
  "the URL of a proxy with its port, such as http://proxy.corp.example:8080 or https://user:${PASSWORD}@proxy.corp.example:8443";
const proxyUrl = text(URL_OF_PROXY, parseProxyUrl, "proxy URL");
const parentMapping = z.strictObject({
  url: proxyUrl.describe(
    "`http://` or `https://` (TLS to the parent), host and port; `user:${PASSWORD}@` before the host for HTTP Basic.",
  ),
  address: z
    .enum(["judged", "name"])
    .default("judged")
    .describe(
      "What the parent is told: the address that was resolved and judged here, or the `name`, whose addresses then nobody judges.",
    ),
  trust: z
    .array(path, "expected a list of trust anchors: system, bundled, and files")
    .min(1, "an empty list trusts no parent at all")
    .optional()
    .describe("Trust anchors for the TLS of an `https://` parent; absent: those of `upstream.trust`."),
});
const shortParent = (expected: string) =>
  text(
    expected,
    (input) => {
      const url = parseProxyUrl(input);
      return url && { url, address: "judged" as const, trust: undefined };
    },
    "proxy URL",
  );
export type ParsedParent = z.output<typeof parentMapping> | z.output<ReturnType<typeof shortParent>>;

const route = z.strictObject({
  host: hostPattern.describe(
    "Host pattern; an IP address or network is for targets that are written as addresses.",
  ),
  ports: z
    .array(port, "expected a list of ports")
    .min(1, "expected at least one port")
    .optional()
    .describe("Ports that the route is about; absent: every port."),
  parent: z
    .union(
      [z.literal("direct"), shortParent(`direct, or ${URL_OF_PROXY}`), parentMapping],
      "expected direct, the URL of a proxy, or a mapping with the key url",
    )
    .describe("`direct`, or a parent as in `upstream.parent`."),
});

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
  parent: z
    .union(
      [shortParent(URL_OF_PROXY), parentMapping],
      "expected the URL of a proxy, or a mapping with the key url",
    )
    .optional()
    .describe("The next proxy on the way to every origin that no route names; absent: none."),
  routes: z
    .array(route, "expected a list of routes")
    .prefault([])
    .describe("Ways to single hosts; the first that names the host and port decides."),
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
