// The keys of `tls`: what the proxy shows to sandboxes that connect to it by TLS, and what it asks of them.

import * as z from "zod";
import { parseHostUnicode } from "../net/host.ts";
import { path, text } from "./values.ts";

export const tls = z
  .strictObject({
    names: z
      .array(text("a host name or an IP address", parseHostUnicode), "expected a list of names")
      .min(1, "expected at least one name")
      .describe(
        "Names of the proxy that clients may ask for; any other is refused. Who asks for none is shown the first.",
      ),
    cert: path
      .optional()
      .describe("An own certificate with its chain, PEM; absent: a leaf of the trust anchor for each name."),
    key: path.optional().describe("Its private key, PEM."),
    client_ca: path
      .optional()
      .describe(
        "Certificates that sandboxes' client certificates must be issued by, PEM; absent: none are asked for.",
      ),
    client_certificates: z
      .enum(["optional", "required"])
      .optional()
      .describe(
        "Whether a client certificate must be shown; absent: `optional`, where there is a `client_ca`.",
      ),
  })
  .superRefine(({ cert, key, client_ca, client_certificates }, context) => {
    const missing = (name: string): void =>
      context.addIssue({ code: "custom", path: [name], message: `missing key "${name}"` });
    if (cert !== undefined && key === undefined) missing("key");
    if (key !== undefined && cert === undefined) missing("cert");
    if (client_certificates !== undefined && client_ca === undefined) missing("client_ca");
  });
