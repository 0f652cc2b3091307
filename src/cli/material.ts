// What a sandbox is to trust, in every form that its programs read. Makes the CA if there is none yet.

import type { Config } from "../config/types.ts";
import type { Material } from "./sandbox-files.ts";

export async function material(config: Config): Promise<Material> {
  const { anchorPem } = await import("./anchor.ts");
  const { caBundle, pkcs12Truststore } = await import("../tls/bundle.ts");
  const caPem = await anchorPem(config);
  const bundlePem = caBundle(caPem, { system: true });
  return {
    caPem,
    bundlePem,
    truststore: pkcs12Truststore([bundlePem], TRUSTSTORE_PASSWORD),
    truststorePassword: TRUSTSTORE_PASSWORD,
  };
}

/** Java wants one; the store holds public certificates only, so it protects nothing. */
const TRUSTSTORE_PASSWORD = "changeit";
