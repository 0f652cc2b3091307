// The configuration as the rest of the program takes it: every value parsed, every path absolute, every key present.

import type { Address } from "../net/address.ts";
import type { Host } from "../net/host.ts";
import type { Limits } from "../net/limits.ts";
import type { Secret } from "../net/secret.ts";
import type { Snapshot } from "../policy/compile.ts";
import type { Phase, Policy } from "../policy/types.ts";
import type { Diagnostic, Position } from "./diagnostic.ts";
import type { Path } from "./source.ts";
import type { Endpoint } from "./values.ts";

export type { Endpoint } from "./values.ts";

export type Config = {
  readonly listen: readonly Endpoint[];
  /** `false`: no admin listener. */
  readonly admin: Endpoint | false;
  /** Processes that sandboxes' connections are shared out among; `auto`: as many as the machine runs at once. */
  readonly workers: number | "auto";
  /** Directory of the trust anchor that is made on first start. */
  readonly certs: string;
  /** The operator's own CA, instead of `certs`. */
  readonly ca:
    | { readonly cert: string; readonly key: string; readonly chain: string | undefined }
    | undefined;
  /** Directory of the operator's presets, where there is one. */
  readonly presets: string | undefined;
  readonly upstream: {
    readonly trust: readonly TrustSource[];
    readonly crls: readonly string[];
    readonly hosts: ReadonlyMap<Host, readonly Address[]>;
    /** `undefined`: the system's resolver. */
    readonly resolvers: readonly string[] | undefined;
  };
  readonly audit: {
    readonly directory: string;
    readonly durability: "process" | "disk";
    readonly rotate: { readonly octets: number; readonly daily: boolean };
    readonly privacy: "standard" | "zero-retention";
  };
  readonly log: {
    readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
    readonly format: "auto" | "pretty" | "json";
  };
  readonly sandboxes: readonly Sandbox[];
  /** Policy of a connection without credentials; `undefined`: 407. */
  readonly anonymous: string | undefined;
  readonly limits: Limits;
};

export type TrustSource =
  | { readonly kind: "system" }
  | { readonly kind: "bundled" }
  | { readonly kind: "file"; readonly path: string };

export type Sandbox = {
  readonly id: string;
  readonly secret: Secret;
  /** Name of the policy in each phase. */
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
};

export type Loaded =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly policies: readonly Policy[];
      /** The policies compiled, as the caller's generation. */
      readonly snapshot: (generation: number) => Snapshot;
      readonly warnings: readonly Diagnostic[];
      /** Absolute paths to watch, there or not; also the directory of the operator's presets. */
      readonly files: readonly string[];
      /** Absolute path of the file that was read; `undefined`: there is none, the defaults hold. */
      readonly file: string | undefined;
      /** Where a key stands in it. */
      readonly at: (path: Path) => Position & { readonly file: string };
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[]; readonly files: readonly string[] };
