// What rules are made of, in policies and presets: hosts, methods, paths, ports, networks. Absence never allows.

import * as z from "zod";
import { compileGlob } from "../policy/paths.ts";
import { parsePattern } from "../policy/pattern.ts";
import type { Methods } from "../policy/types.ts";
import { method, moment, network, port, text } from "./values.ts";

const READ_ONLY: readonly string[] = ["GET", "HEAD", "OPTIONS"];

export const name = (what: string) =>
  text(`${what}: 1 to 64 letters, digits, dots, underscores and hyphens`, (input) =>
    NAME.test(input) ? input : undefined,
  );
export const hostPattern = z
  .string("expected a host pattern such as example.com, *.example.com or **.example.com")
  .superRefine((input, context) => {
    const pattern = parsePattern(input);
    if (pattern.kind === "problem") context.addIssue({ code: "custom", message: pattern.message });
  });
const pathGlob = z
  .string("expected a path that starts with /, such as /repos/acme/**")
  .superRefine((input, context) => {
    const glob = compileGlob(input);
    if ("problem" in glob) context.addIssue({ code: "custom", message: glob.problem });
  });
const reason = text("a reason of 1 to 500 characters", (input) =>
  input.trim() === "" || input.length > 500 ? undefined : input,
);
const presetHost = hostPattern.refine((input) => parsePattern(input).kind !== "network", {
  abort: true,
  message: "only a rule can name an address or a network, no preset",
});
export const hosts = z.array(presetHost, "expected a list of host patterns");

export const methods = z
  .union([z.enum(["read-only", "all"]), z.array(method)], 'expected "read-only", "all" or a list of methods')
  .transform((value): Methods => (value === "read-only" ? READ_ONLY : value));

const expires = moment.optional().describe("The rule is void from this date (00:00 UTC) or time on.");
const because = reason
  .optional()
  .describe("Why the rule is there; shown to the sandbox only with `show_rules`.");
const ports = z
  .array(port, "expected a list of ports")
  .optional()
  .describe("Ports that the rule is about; absent: every port.");

const networks = z
  .array(network, "expected a list of networks")
  .optional()
  .describe("Networks that are not public but that the host may resolve to.");

export const rule = z.union(
  [
    hostPattern,
    z.strictObject({
      host: hostPattern.describe("Host pattern, or an IP address or network written as itself."),
      methods: methods
        .optional()
        .describe(
          "Methods that the rule is about; absent: in `allow` those of the policy, in `deny` every method.",
        ),
      ports,
      paths: z
        .array(pathGlob, "expected a list of paths")
        .optional()
        .describe("Globs over the path that the rule is about; absent: every path."),
      networks: networks.describe(
        "Networks that are not public but that the host may resolve to; in `allow` only.",
      ),
      expires,
      reason: because,
    }),
  ],
  "expected a host pattern, or a mapping with the key host",
);

export const spliceRule = z.union(
  [
    hostPattern,
    z.strictObject({
      host: hostPattern.describe("Host pattern."),
      ports,
      expires,
      reason: because,
    }),
  ],
  "expected a host pattern, or a mapping with the key host",
);

export const tcpRule = z.strictObject(
  {
    host: hostPattern.describe("Host pattern, or an IP address or network written as itself."),
    ports: z
      .array(port, "expected a list of ports")
      .min(1, "expected at least one port")
      .describe("Ports that any bytes may pass to."),
    networks,
    expires,
    reason: because,
  },
  "expected a mapping with the keys host and ports",
);

export type ParsedRule = z.output<typeof rule> | z.output<typeof spliceRule> | z.output<typeof tcpRule>;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
