// Every bound on time, size and number that the data path keeps, with its default. Values only: nothing here enforces them.

/** Milliseconds end in `Ms`; sizes are octets. Every value is a positive integer. */
export type Limits = {
  /** Open connections from sandboxes. */
  readonly connections: number;
  /** Open connections from one source address. */
  readonly connectionsPerSource: number;
  /** Request line and header fields together. */
  readonly headOctets: number;
  /** Number of header fields. */
  readonly headFields: number;
  readonly targetOctets: number;
  /** Open streams of one HTTP/2 connection. */
  readonly streams: number;
  /** For a whole request head, from its first octet (or from the accept) on. */
  readonly headMs: number;
  /** Idle between two requests of one connection. */
  readonly keepAliveMs: number;
  /** For the sandbox's ClientHello and TLS handshake together. */
  readonly handshakeMs: number;
  /**
   * No octet of a body either way. Only silence is bounded, not a body's whole time: event streams and large transfers
   * take as long as they take, and one that trickles holds one connection of its source's share.
   */
  readonly bodyIdleMs: number;
  /** No octet either way of a spliced tunnel or an upgraded connection. */
  readonly tunnelIdleMs: number;
  /** TCP and TLS to an origin, over all its addresses. */
  readonly connectMs: number;
  readonly dnsMs: number;
  /** From the request's end to the response head. */
  readonly upstreamHeadMs: number;
  /** For somebody's decision on a request that the policy asks about. */
  readonly approvalMs: number;
  /** For exchanges to end after a stop is asked for. */
  readonly drainMs: number;
  /** Leaf certificates kept. */
  readonly leaves: number;
  /** Of one sandbox; all together a fixed multiple of it. */
  readonly mintsPerSecond: number;
  readonly mintBurst: number;
  /** An idle pooled connection to an origin. */
  readonly upstreamIdleMs: number;
  /** Idle connections kept for one origin and sandbox. */
  readonly upstreamPerOrigin: number;
  /** Connections to all origins together. */
  readonly upstreamTotal: number;
};

export const DEFAULT_LIMITS: Limits = {
  connections: 4096,
  connectionsPerSource: 1024,
  headOctets: 64 * 1024,
  headFields: 128,
  targetOctets: 16 * 1024,
  streams: 100,
  headMs: 15_000,
  keepAliveMs: 75_000,
  handshakeMs: 10_000,
  bodyIdleMs: 300_000,
  tunnelIdleMs: 600_000,
  connectMs: 10_000,
  dnsMs: 5_000,
  // Long: model APIs may think for minutes before their first octet.
  upstreamHeadMs: 300_000,
  approvalMs: 60_000,
  drainMs: 30_000,
  leaves: 1_000,
  mintsPerSecond: 50,
  mintBurst: 200,
  upstreamIdleMs: 4_000,
  upstreamPerOrigin: 64,
  upstreamTotal: 2_048,
};
