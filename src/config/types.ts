// The configuration as the rest of the program takes it: every value parsed, every path absolute, every key present.

import type { Address, Network } from "../net/address.ts";
import type { Host } from "../net/host.ts";
import type { Limits } from "../net/limits.ts";
import type { ProxyUrl } from "../net/proxy-url.ts";
import type { Secret } from "../net/secret.ts";
import type { Snapshot } from "../policy/compile.ts";
import type { Requirements } from "../policy/requirements.ts";
import type { Phase, Policy } from "../policy/types.ts";
import type { Diagnostic, Position } from "./diagnostic.ts";
import type { Path } from "./source.ts";
import type { Endpoint } from "./values.ts";

export type { Endpoint } from "./values.ts";

export type AdminConfig = Endpoint & {
  /** Unix socket of this machine's administrator; `undefined`: its path is longer than one can be. */
  readonly socket: string | undefined;
  /** Names by which it may be called beside its own addresses. */
  readonly hosts: readonly string[];
  /** What is answered without a token. */
  readonly open: readonly ("health" | "metrics")[];
};

export type Config = {
  /** `sandbox`: whose connections these are alone. */
  readonly listen: readonly (Endpoint & { readonly sandbox: string | undefined })[];
  /** Unix sockets, likewise. */
  readonly sockets: readonly {
    readonly path: string;
    readonly mode: number;
    readonly sandbox: string | undefined;
  }[];
  readonly transparent: readonly Transparent[];
  readonly dns: readonly Responder[];
  /** `false`: no admin listener. */
  readonly admin: AdminConfig | false;
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
  /** TLS to the proxy itself; `undefined`: it is not spoken. */
  readonly tls:
    | {
        readonly names: readonly Host[];
        /** `undefined`: leaves of the trust anchor. */
        readonly certificate: { readonly cert: string; readonly key: string } | undefined;
        readonly clientCa: string | undefined;
        readonly clientCertificates: "optional" | "required";
      }
    | undefined;
  /** File of what seals session tickets; `undefined`: made at the start. */
  readonly ticketKeys: string | undefined;
  /** Whose PROXY headers are believed, and asked for. */
  readonly proxyProtocol: readonly Network[];
  readonly upstream: {
    readonly trust: readonly TrustSource[];
    readonly crls: readonly string[];
    readonly hosts: ReadonlyMap<Host, readonly Address[]>;
    /** `undefined`: the system's resolver. */
    readonly resolvers: readonly string[] | undefined;
    /** For what no route names; `undefined`: straight. */
    readonly parent: ParentProxy | undefined;
    /** In the order of writing; the first that names the host and port decides. */
    readonly routes: readonly {
      readonly host: string;
      readonly ports: readonly number[] | undefined;
      /** `undefined`: straight. */
      readonly parent: ParentProxy | undefined;
    }[];
    readonly http2: "auto" | "always" | "never";
  };
  readonly audit: {
    readonly directory: string;
    readonly durability: "process" | "disk";
    readonly rotate: { readonly octets: number; readonly daily: boolean };
    readonly privacy: "standard" | "zero-retention";
  };
  /** Where what changes at run time is kept. */
  readonly store:
    | { readonly kind: "sqlite"; readonly file: string }
    | { readonly kind: "postgres"; readonly url: Secret };
  readonly log: {
    readonly level: "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent";
    readonly format: "auto" | "pretty" | "json";
  };
  readonly sandboxes: readonly Sandbox[];
  /** Policy of a connection without credentials; `undefined`: 407. */
  readonly anonymous: string | undefined;
  /** Inside intercepted tunnels; `auto`: for clients that speak nothing else. */
  readonly http2: "auto" | "always" | "never";
  readonly approvals: {
    /** How long one stays undecided. */
    readonly pendingMs: number;
    readonly webhook: { readonly url: string; readonly secret: Secret } | undefined;
  };
  readonly limits: Limits;
  readonly secrets: SecretSources;
};

/** Where the file's secrets come from: no sandbox inherits these, or sees them. */
export type SecretSources = {
  /** Of the environment. */
  readonly variables: readonly string[];
  /** Absolute paths. */
  readonly files: readonly string[];
  /** When commands are to be run anew; `undefined`: at reloads alone. */
  readonly everyMs: number | undefined;
};

/** A listener for redirected connections. */
export type Transparent = {
  readonly listen: Endpoint;
  /** That they were meant for. */
  readonly port: number;
  /** Whose they are; `undefined`: nobody says. */
  readonly sandbox: string | undefined;
};

/** A name server that answers by itself. */
export type Responder = {
  readonly listen: Endpoint;
  readonly answer: readonly Address[];
  readonly ttlSeconds: number;
  readonly sandbox: string | undefined;
  /** For one source address. */
  readonly questionsPerSecond: number;
  readonly questionBurst: number;
};

export type TrustSource =
  | { readonly kind: "system" }
  | { readonly kind: "bundled" }
  | { readonly kind: "file"; readonly path: string };

export type ParentProxy = ProxyUrl & {
  readonly address: "judged" | "name";
  /** `undefined`: the trust anchors that origins are verified against. */
  readonly trust: readonly TrustSource[] | undefined;
};

export type Sandbox = {
  readonly id: string;
  /** `undefined`: known by other means alone. */
  readonly secret: Secret | undefined;
  /** The name in its client certificate. */
  readonly certificate: string | undefined;
  /** Networks that are its own. */
  readonly sources: readonly string[];
  /** Name of the policy in each phase. */
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
};

export type Loaded =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly policies: readonly Policy[];
      /** What none of them exceeds. */
      readonly requirements: readonly Requirements[];
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
  | {
      readonly ok: false;
      readonly diagnostics: readonly Diagnostic[];
      /** That could be read all the same. */
      readonly requirements: readonly Requirements[];
      readonly files: readonly string[];
    };
