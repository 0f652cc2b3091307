// The keys that seal TLS session tickets, from a file that replicas share. Whoever has them can take up a sandbox's session, so
// the file is guarded like the issuer's key, and what was plainly not drawn at random is refused.

import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { refuseExposed, TrustAnchorError } from "./files.ts";

/** Throws an error that names the file and how to mend it, and nothing of what it holds. */
export function readTicketKeys(path: string): Buffer {
  const file = openSync(path, "r");
  try {
    refuseExposed(path, fstatSync(file));
    const keys = readFileSync(file);
    if (keys.length !== TICKET_KEYS_OCTETS)
      throw new TrustAnchorError(`${path} holds ${keys.length} octets, not 48: ${mend(path)}`);
    // 48 hexadecimal digits are half as many bits as it takes.
    if (keys.every((octet) => octet >= 0x20 && octet < 0x7f))
      throw new TrustAnchorError(`${path} holds text, not 48 random octets: ${mend(path)}`);
    return keys;
  } finally {
    closeSync(file);
  }
}

export const TICKET_KEYS_OCTETS = 48;
const mend = (path: string): string => `openssl rand -out ${path} 48`;
