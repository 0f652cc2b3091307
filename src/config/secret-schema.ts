// `secrets` of a policy: what the proxy puts into requests, so that no sandbox holds it. No message shows a value.

import * as z from "zod";
import { isAddressLiteral, parseHost } from "../net/host.ts";
import { name } from "./rule-schema.ts";
import { text } from "./values.ts";

const host = text("a host by its name, without a wildcard", (input) => {
  const parsed = parseHost(input);
  return parsed === undefined || isAddressLiteral(parsed) ? undefined : parsed;
});
const field = text(
  "the name of a header field that is not about framing, routing or the connection",
  (input) => (/^[A-Za-z0-9-]{1,64}$/.test(input) && !NOT_A_SECRET.test(input) ? input : undefined),
);

const secret = z.strictObject({
  name: name("a secret's name").describe("What it is called; never its value."),
  value: z
    .string("expected a string (quote numbers)")
    // Shorter ones would be masked where they mean something else.
    .min(8, "a secret has at least 8 characters")
    .max(8192, "a secret has at most 8192 characters")
    .regex(/^[!-~]*$/, "a secret is of visible ASCII characters, without blanks or line ends")
    .describe("The secret; `${ENV}` is expanded. For `basic`: `user:password`, or a password alone."),
  hosts: z
    .array(host, "expected a list of hosts")
    .min(1, "expected at least one host")
    .describe("Hosts that it is for, each by its exact name; over https alone."),
  as: z
    .union(
      [z.enum(["bearer", "basic"]), z.strictObject({ header: field.describe("The field's name.") })],
      "expected bearer, basic, or a mapping with the key header",
    )
    .describe("Where it goes: `bearer` and `basic` in Authorization, or a header field of its own."),
});

export const secrets = z
  .array(secret, "expected a list of secrets")
  .max(64, "expected at most 64 secrets")
  .superRefine((all, context) => {
    const taken = new Set<string>();
    for (const [at, { as, hosts }] of all.entries())
      for (const [index, one] of hosts.entries()) {
        const place = `${one} ${typeof as === "string" ? "authorization" : as.header.toLowerCase()}`;
        if (taken.has(place))
          context.addIssue({
            code: "custom",
            path: [at, "hosts", index],
            message: "another secret goes to this host in the same header field",
          });
        taken.add(place);
      }
  })
  .prefault([])
  .describe(
    "Secrets that the proxy puts into allowed requests, so that the sandbox never holds them; see docs/secrets.md.",
  );

export type ParsedSecret = z.output<typeof secret>;

const NOT_A_SECRET =
  /^(?:host|via|connection|content-length|content-type|transfer-encoding|te|trailer|upgrade|expect|keep-alive|forwarded|x-forwarded-.*|proxy-.*|sec-.*)$/i;
