// The keys of `limits`: every bound on time, size and number that an operator can move, and what holds where nothing does.

import * as z from "zod";
import { count, duration, size } from "./values.ts";

export const limits = z.strictObject({
  connections: count(1, 1_000_000).default(4_096).describe("Open connections from sandboxes."),
  connections_per_source: count(1, 1_000_000)
    .default(1_024)
    .describe("Open connections from one source address."),
  head: size("1KiB", "1MiB").prefault("64KiB").describe("Request line and header fields together."),
  headers: count(8, 10_000).default(128).describe("Number of header fields in a request."),
  target: size("256B", "256KiB").prefault("16KiB").describe("The request target."),
  streams: count(1, 10_000).default(100).describe("Open streams of one HTTP/2 connection of a sandbox."),
  head_time: duration("100ms", "10m").prefault("15s").describe("For a whole request head, once begun."),
  idle: duration("100ms", "1h").prefault("75s").describe("Idle time between two requests of one connection."),
  handshake: duration("100ms", "10m")
    .prefault("10s")
    .describe("For the ClientHello and the TLS handshake of a sandbox."),
  body_idle: duration("100ms", "24h")
    .prefault("300s")
    .describe("Without an octet of a body, either way; a body that trickles goes on for as long as it does."),
  tunnel_idle: duration("100ms", "24h")
    .prefault("600s")
    .describe("Without an octet through a spliced tunnel or an upgraded connection, either way."),
  connect: duration("100ms", "10m")
    .prefault("10s")
    .describe(
      "To connect to an origin, over all its addresses; through a parent proxy: until its tunnel is open.",
    ),
  dns: duration("100ms", "1m").prefault("5s").describe("To resolve a name."),
  response_head: duration("100ms", "24h")
    .prefault("300s")
    .describe("From the end of a request to its response head."),
  approval: duration("100ms", "1h")
    .prefault("60s")
    .describe("That a request is held for somebody's decision, under a policy with `ask: wait`."),
  drain: duration("100ms", "1h").prefault("30s").describe("For exchanges to end after a stop is asked for."),
  leaves: count(1, 1_000_000).default(1_000).describe("Leaf certificates kept in memory."),
  mintings: count(1, 100_000)
    .default(50)
    .describe("Leaf certificates minted per second for one sandbox; eight times that for all."),
  mintings_burst: count(1, 100_000)
    .default(200)
    .describe(
      "Leaf certificates minted at once for one sandbox, after a quiet time; eight times that for all.",
    ),
});
