// The secrets that are made here: 256 bits each, told once, kept as a digest alone. With so many bits nothing is to be guessed, so
// that a plain digest is as good as a slow one.

import { hash, randomBytes, timingSafeEqual } from "node:crypto";

export type SecretKind = "sps" | "spt";

/** `sps_…` opens the proxy for a sandbox, `spt_…` the API for whoever holds it. */
export function newSecret(kind: SecretKind): { readonly secret: string; readonly digest: string } {
  const secret = `${kind}_${randomBytes(32).toString("base64url")}`;
  return { secret, digest: digestOf(secret) };
}

export function newId(prefix: string): string {
  return `${prefix}-${randomBytes(8).toString("hex")}`;
}

/** SHA-256, base64url. */
export function digestOf(secret: string): string {
  return hash("sha256", secret, "base64url");
}

export function sameDigest(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)];
  return one.length === other.length && timingSafeEqual(one, other);
}
