// The trust anchor's certificate, for the commands that show it and hand it out.

import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

import type { Config } from "../config/types.ts";
import { splitPem } from "../tls/certificate.ts";
import { openTrustAnchor, rotateTrustAnchor, type TrustAnchorSource } from "../tls/trust-anchor.ts";
import { CliError } from "./errors.ts";

/** Makes the CA where there is none yet. */
export async function anchorPem(config: Config): Promise<string> {
  const anchor = await readAnchor(config);
  return anchor?.pem ?? (await openTrustAnchor(trustAnchorSource(config))).anchorPem;
}

/** Of the CA that Sallyport made itself; the operator's own is the operator's to replace. */
export async function rotateAnchor({ certs }: Config): Promise<void> {
  await rotateTrustAnchor(certs);
}

/** The certificate that sandboxes are to trust, without touching its key: reading it is nobody's privilege. */
export async function readAnchor({ ca, certs }: Config): Promise<{ path: string; pem: string } | undefined> {
  const files =
    ca === undefined ? [join(certs, "ca.pem")] : [ca.cert, ...(ca.chain === undefined ? [] : [ca.chain])];
  try {
    const texts = await Promise.all(files.map((file) => readFile(file, "utf8")));
    const path = files.at(-1) ?? certs;
    return { path, pem: certificateIn(splitPem(texts.join("\n")), path) };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The last of the chain; what sandboxes would refuse to trust is refused here. */
function certificateIn(pems: readonly string[], path: string): string {
  const pem = pems.at(-1);
  try {
    if (pem !== undefined && new X509Certificate(pem).ca) return pem;
  } catch {
    // Not DER inside: as good as no certificate.
  }
  throw new CliError(
    `${path} holds no CA certificate. Restore it, or move it and its key away to have a new CA made.`,
  );
}

function trustAnchorSource({ ca, certs }: Config): TrustAnchorSource {
  if (ca === undefined) return { directory: certs };
  const own = { certFile: ca.cert, keyFile: ca.key };
  return ca.chain === undefined ? own : { ...own, chainFile: ca.chain };
}
