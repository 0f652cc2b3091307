// The files that a sandbox's environment names: certificates and client settings, all public. The trust anchor's key never comes
// here.

import { posix } from "node:path";

/** Paths as the sandbox sees them. */
export type SandboxFiles = {
  /** The trust anchor alone. */
  readonly ca: string;
  /** The system's roots and the trust anchor. */
  readonly bundle: string;
  /** As `bundle`, PKCS#12. */
  readonly truststore: string;
  readonly truststorePassword: string;
  readonly aptConf: string;
  readonly wgetrc: string;
};

export type Material = {
  readonly caPem: string;
  readonly bundlePem: string;
  readonly truststore: Uint8Array;
  readonly truststorePassword: string;
};

/** `seenAs`: the directory in which the sandbox has them. */
export function sandboxFiles(seenAs: string, truststorePassword: string): SandboxFiles {
  return {
    ca: posix.join(seenAs, NAMES.ca),
    bundle: posix.join(seenAs, NAMES.bundle),
    truststore: posix.join(seenAs, NAMES.truststore),
    truststorePassword,
    aptConf: posix.join(seenAs, NAMES.aptConf),
    wgetrc: posix.join(seenAs, NAMES.wgetrc),
  };
}

/** What stands in each, by its name in that directory. */
export function fileContents(
  seenAs: string,
  material: Material,
): readonly { readonly name: string; readonly content: string | Uint8Array }[] {
  const { bundle } = sandboxFiles(seenAs, material.truststorePassword);
  return [
    { name: NAMES.ca, content: material.caPem },
    { name: NAMES.bundle, content: material.bundlePem },
    { name: NAMES.truststore, content: material.truststore },
    { name: NAMES.aptConf, content: `Acquire::https::CAInfo "${bundle}";\n` },
    { name: NAMES.wgetrc, content: `ca_certificate = ${bundle}\n` },
  ];
}

/** apt.conf and wgetrc cannot carry some paths. */
export function isCarried(path: string): boolean {
  return !/["\p{Cc}]/u.test(path);
}

const NAMES = {
  ca: "ca.pem",
  bundle: "bundle.pem",
  truststore: "truststore.p12",
  aptConf: "apt.conf",
  wgetrc: "wgetrc",
} as const;

export const FILE_NAMES: readonly string[] = Object.values(NAMES);
