// The keys of `transparent` and `dns`: the ways in for clients that know of no proxy. Absence opens none.

import * as z from "zod";
import { address, count, duration, endpoint, port } from "./values.ts";

const sandbox = z
  .string()
  .optional()
  .describe("Id of the sandbox whose connections these are; absent: the policy named by `anonymous` holds.");

export const transparent = z
  .array(
    z.strictObject({
      listen: endpoint.describe("Where redirected connections arrive."),
      port: port.describe("The port that they were meant for: their target's."),
      sandbox,
    }),
    "expected a list of listeners",
  )
  .max(64, "expected at most 64 listeners");

const responder = z.strictObject({
  listen: endpoint.describe("Where questions arrive, over UDP and TCP."),
  answer: z
    .array(address, "expected a list of IP addresses")
    .min(1, "expected at least one IP address")
    .max(8, "expected at most 8 IP addresses")
    .describe("What permitted names are answered with: where sandboxes reach the transparent listeners."),
  ttl: duration("1s", "1h").prefault("5s").describe("How long an answer may be kept."),
  sandbox,
  questions: count(1, 100_000)
    .default(50)
    .describe("Questions answered per second for one source address; eight times that for all."),
  questions_burst: count(1, 100_000)
    .default(200)
    .describe("Questions answered at once, after a quiet time; eight times that for all."),
});

export const dns = z
  .union(
    [responder.transform((only) => [only]), z.array(responder).max(64, "expected at most 64 responders")],
    "expected a mapping, or a list of them",
  )
  .prefault([]);
