// What a runtime is handed for a sandbox: the variables that send its programs through the proxy, and the files that they name.

export type SandboxKit = {
  /** The trust anchor, PEM. */
  readonly ca: () => string;
  /** The proxy as this machine reaches it. */
  readonly proxyUrl: () => string;
  readonly environment: (of: {
    readonly proxyUrl: string;
    readonly id: string;
    readonly secret: string;
    /** The directory in which the sandbox has the files. */
    readonly seenAs: string;
  }) => Readonly<Record<string, string>>;
  readonly files: (
    seenAs: string,
  ) => readonly { readonly name: string; readonly content: string | Uint8Array }[];
};
