// The API's route of audit data: reading it is for whoever may read its directory.

import * as z from "zod";
import { ADMINS, type Route, route } from "./route.ts";
import { span } from "./schemas.ts";

const LEAST_MS = 3_600_000;

export const AUDIT_ROUTES: readonly Route[] = [
  route({
    method: "POST",
    path: "/v1/audit/prune",
    roles: ADMINS,
    summary:
      "Delete this machine's segments of the audit log that are older; refused while a lockdown stands",
    body: z.strictObject({
      older_than: span.refine((ms) => ms >= LEAST_MS, "expected 1h or more").describe("At least `1h`."),
      preview: z.boolean().prefault(false).describe("Only tell what would be deleted."),
    }),
    success: {
      status: 200,
      is: "What was deleted, or would be.",
      schema: z.strictObject({ segments: z.int(), octets: z.int() }),
    },
    run: ({ actor, control, body }) => control.pruneAudit(actor, body.older_than, body.preview),
  }),
];
