// TLS to the proxy itself, as the configuration has it by now. Files that can no longer be used leave what was there.

import { readFileSync } from "node:fs";
import type { Config } from "../config/types.ts";
import type { Log } from "../telemetry/log.ts";
import { createProxyTls, type ProxyTls } from "../tls/proxy-tls.ts";
import type { Issuer } from "../tls/trust-anchor.ts";
import { asError } from "./reports.ts";

export class ProxyTlsDoor {
  readonly #issuer: Issuer;
  readonly #log: Log;
  #from: Config;
  #made: ProxyTls | undefined;

  /** Throws where the first one's files cannot be used. */
  constructor(issuer: Issuer, log: Log, config: Config) {
    this.#issuer = issuer;
    this.#log = log;
    this.#from = config;
    this.#made = make(issuer, config);
  }

  /** Files are read again with each reload: a certificate is renewed under its name. */
  of(config: Config): ProxyTls | undefined {
    if (config === this.#from) return this.#made;
    this.#from = config;
    try {
      this.#made = make(this.#issuer, config);
    } catch (error) {
      this.#log.error("the certificates of `tls` cannot be used; those of before are kept", {
        error: asError(error),
      });
    }
    return this.#made;
  }
}

function make(issuer: Issuer, { tls }: Config): ProxyTls | undefined {
  if (tls === undefined) return undefined;
  const read = (path: string): string => readFileSync(path, "utf8");
  return createProxyTls({
    issuer,
    names: tls.names,
    certificate: tls.certificate && { cert: read(tls.certificate.cert), key: read(tls.certificate.key) },
    clientCa: tls.clientCa === undefined ? undefined : read(tls.clientCa),
    clientCertificates: tls.clientCertificates,
    now: Date.now,
  });
}
