// `secrets` of a policy: what the proxy puts into requests, so that no sandbox holds it. No message shows a value.

import * as z from "zod";
import { isAddressLiteral, parseHost } from "../net/host.ts";
import { name } from "./rule-schema.ts";
import { duration, path, text } from "./values.ts";

export const TOO_SHORT = "a secret has at least 8 characters";
const LEAST = 8;
const SOURCES = ["value", "file", "command"] as const;

const host = text("a host by its name, without a wildcard", (input) => {
  const parsed = parseHost(input);
  return parsed === undefined || isAddressLiteral(parsed) ? undefined : parsed;
});
const field = text(
  "the name of a header field that is not about framing, routing or the connection",
  (input) => (/^[A-Za-z0-9-]{1,64}$/.test(input) && !NOT_A_SECRET.test(input) ? input : undefined),
);

const parameter = text("the name of a query parameter", (input) =>
  /^[A-Za-z0-9._~-]{1,64}$/.test(input) ? input : undefined,
);

const place = z
  .strictObject({
    header: field.optional().describe("The field's name."),
    query: parameter.optional().describe("The parameter's name."),
  })
  .transform(({ header, query }, context) => {
    if (header !== undefined && query === undefined) return { header };
    if (query !== undefined && header === undefined) return { query };
    context.addIssue({ code: "custom", message: "expected one of header and query" });
    return z.NEVER;
  });

/** Wherever it comes from. */
export const secretValue = z
  .string("expected a string (quote numbers)")
  // Shorter ones would be masked where they mean something else.
  .min(LEAST, TOO_SHORT)
  .max(8192, "a secret has at most 8192 characters")
  .regex(/^[!-~]*$/, "a secret is of visible ASCII characters, without blanks or line ends");

const secret = z.strictObject({
  name: name("a secret's name").describe("What it is called; never its value."),
  value: secretValue
    .optional()
    .describe("The secret; `${ENV}` is expanded. For `basic`: `user:password`, or a password alone."),
  file: path
    .optional()
    .describe("In place of `value`: a file that holds it and nothing else; read anew whenever it changes."),
  command: z
    .array(
      z.string("expected a string").min(1, "expected an argument"),
      "expected a list: a program and its arguments",
    )
    .min(1, "expected a program and its arguments")
    .optional()
    .describe("In place of `value`: a program and its arguments, no shell; what it prints is the secret."),
  every: duration("1m", "24h")
    .optional()
    .describe("How often `command` is run anew; absent: at every reload of the file alone."),
  hosts: z
    .array(host, "expected a list of hosts")
    .min(1, "expected at least one host")
    .describe("Hosts that it is for, each by its exact name; over https alone."),
  as: z
    .union(
      [z.enum(["bearer", "basic"]), place],
      "expected bearer, basic, or a mapping with the key header or query",
    )
    .describe(
      "Where it goes: `bearer` and `basic` in Authorization, a header field of its own, or a parameter of the query.",
    ),
});

export const secrets = z
  .array(secret, "expected a list of secrets")
  .max(64, "expected at most 64 secrets")
  .superRefine((all, context) => {
    const taken = new Set<string>();
    for (const [at, one] of all.entries()) {
      const report = (path: (string | number)[], message: string): void =>
        context.addIssue({ code: "custom", path: [at, ...path], message });
      const sources = SOURCES.filter((source) => one[source] !== undefined);
      if (sources.length !== 1) report(sources.slice(1, 2), "expected one of value, file and command");
      if (one.every !== undefined && one.command === undefined)
        report(["every"], "only a command is run anew");
      if (one.value !== undefined && hasShortPassword(one, one.value)) report(["value"], TOO_SHORT);
      for (const [index, host] of one.hosts.entries()) {
        const place = `${host} ${placeOf(one.as)}`;
        if (taken.has(place)) report(["hosts", index], "another secret goes to this host in the same place");
        taken.add(place);
      }
    }
  })
  .prefault([])
  .describe(
    "Secrets that the proxy puts into allowed requests, so that the sandbox never holds them; see docs/secrets.md.",
  );

export type ParsedSecret = z.output<typeof secret>;

/** It is masked by itself, too. */
export function hasShortPassword({ as }: Pick<ParsedSecret, "as">, value: string): boolean {
  return as === "basic" && value.includes(":") && value.slice(value.indexOf(":") + 1).length < LEAST;
}

function placeOf(as: ParsedSecret["as"]): string {
  if (typeof as === "string") return "header authorization";
  return "header" in as ? `header ${as.header.toLowerCase()}` : `query ${as.query.toLowerCase()}`;
}

const NOT_A_SECRET =
  /^(?:host|via|connection|content-length|content-type|transfer-encoding|te|trailer|upgrade|expect|keep-alive|forwarded|x-forwarded-.*|proxy-.*|sec-.*)$/i;
