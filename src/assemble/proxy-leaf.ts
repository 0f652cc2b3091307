// What sandboxes that connect to the proxy itself by TLS are shown, where the operator has no certificate for that.

import type { Host } from "../net/host.ts";
import { LEAF_KEPT_MS } from "../tls/leaf-context.ts";
import { mintLeaf } from "../tls/mint.ts";
import type { ProxyLeaf } from "../tls/proxy-tls.ts";
import type { Issuer } from "../tls/trust-anchor.ts";

export function proxyLeaf(issuer: Issuer | undefined, name: Host, at = Date.now()): ProxyLeaf {
  if (issuer === undefined) throw new Error("there is no trust anchor yet");
  const { chainPem, key, notAfter } = mintLeaf(issuer, name, at);
  const keyPem = key.export({ type: "pkcs8", format: "pem" }).toString();
  return { chainPem, keyPem, until: Math.min(at + LEAF_KEPT_MS, notAfter) };
}
