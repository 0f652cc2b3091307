// The keys of `approvals`: how long somebody has to decide, and whom to tell. Absence tells nobody.

import * as z from "zod";
import { duration, text } from "./values.ts";

const webhookUrl = text("an https:// URL without credentials or a fragment", (input) => {
  const url = URL.parse(input);
  if (url === null || url.protocol !== "https:" || url.username !== "" || url.password !== "")
    return undefined;
  return url.hash === "" ? url.href : undefined;
});

export const approvals = z.strictObject({
  pending: duration("1m", "720h")
    .prefault("1h")
    .describe(
      "That somebody has to decide on a request that a policy asks about; then it is to be sent again.",
    ),
  webhook: z
    .strictObject({
      url: webhookUrl.describe(
        "Told of each new approval, by POST; verified against `upstream.trust`, reached without a parent proxy.",
      ),
      secret: z
        .string("expected a string (quote numbers)")
        .min(16, "a webhook's secret has at least 16 characters")
        .max(256, "a webhook's secret has at most 256 characters")
        .describe("Signs what is told (HMAC-SHA256); `${ENV}` is expanded."),
    })
    .optional()
    .describe("Where approvals are told as they are asked for; absent: nowhere. See docs/approvals.md."),
});
