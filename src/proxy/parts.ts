// What the data path is handed by the composition root: types only, nothing here constructs anything.

import type { SecureContext } from "node:tls";
import type { Audit } from "../audit/types.ts";
import type { GuessLimiter } from "../identity/guess-limiter.ts";
import type { Identifier } from "../identity/identify.ts";
import type { Network } from "../net/address.ts";
import type { Host } from "../net/host.ts";
import type { Limits } from "../net/limits.ts";
import type { Snapshot } from "../policy/compile.ts";
import type { AddressFacts } from "../policy/types.ts";
import type { Approvals } from "../registry/asking.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { ProxyTls } from "../tls/proxy-tls.ts";
import type { Upstream } from "../upstream/engine.ts";
import type { Http2Use } from "./alpn.ts";
import type { Live } from "./live.ts";
import type { Purses } from "./purses.ts";

/** All that a reload replaces, as one value. */
export type Published = {
  readonly snapshot: Snapshot;
  readonly generation: number;
  /** Of who is who and what holds for each: one more whenever any of it changes, the generation included. */
  readonly revision: number;
  readonly identifier: Identifier;
  readonly upstream: Upstream;
  /** TLS to the proxy itself, where it is configured. */
  readonly tls: ProxyTls | undefined;
};

export type Parts = {
  /** Read once per exchange. */
  readonly published: () => Published;
  readonly audit: Audit;
  readonly guesses: GuessLimiter;
  /** `asker`: whose share of the mintings it is. At once where it is held; may throw or reject with a ProxyFault. */
  readonly leaves: { contextFor(host: Host, asker: string): SecureContext | Promise<SecureContext> };
  /** Whom a miss is put to, where the policy asks. */
  readonly approvals: Approvals;
  /** What this process has drawn of budgets. */
  readonly purses: Purses;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limits: Limits;
  /** Where HTTP/2 is spoken with sandboxes. */
  readonly http2: Http2Use;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Where this proxy itself listens. */
  readonly own: () => AddressFacts["own"];
  /** This instance's pseudonym in Via. */
  readonly pseudonym: string;
  /** What the proxy's own host serves. */
  readonly pages: {
    /** That sandboxes are to trust, PEM. */
    readonly trustAnchor: string;
    /** The script that says what does not work in a sandbox. */
    readonly doctor: string;
  };
  readonly live: Live;
  /** Whose PROXY headers are believed, and asked for. */
  readonly balancers: readonly Network[];
};
