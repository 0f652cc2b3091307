// The key `admin`: where the API, the metrics and the health checks are, and who may ask what of them.

import * as z from "zod";
import { endpoint, path } from "./values.ts";

const EXPECTED = "expected address:port, a mapping with the key listen, or false";

const named = z.strictObject(
  {
    listen: endpoint.prefault("127.0.0.1:9128").describe("`address:port`; port 0 takes a free one."),
    socket: path
      .prefault("data/admin.sock")
      .describe(
        "Path of the Unix socket by which this machine's commands ask; whoever can open it is an administrator.",
      ),
    hosts: z
      .array(z.string().min(1, "expected a host").max(253, "expected a host"), "expected a list of hosts")
      .max(64, "expected at most 64 hosts")
      .prefault([])
      .describe("Names by which the listener may be called, beside its addresses and `localhost`."),
    open: z
      .array(z.enum(["health", "metrics"]), "expected a list of health and metrics")
      .prefault(["health", "metrics"])
      .describe("What is answered without a token: `health`, `metrics`."),
  },
  EXPECTED,
);

/** Beside the address, where that alone is written. */
const DEFAULTS = named.omit({ listen: true }).parse({});

export const admin = z
  .union([endpoint.transform((listen) => ({ ...DEFAULTS, listen })), z.literal(false), named], EXPECTED)
  .prefault("127.0.0.1:9128")
  .describe(
    "Where the API (`/v1`), /metrics, /healthz and /readyz are; false: nowhere. Never reachable through the proxy.",
  );
