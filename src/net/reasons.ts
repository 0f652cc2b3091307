// The closed vocabulary of refusals and faults. The same string stands in the response header, the body,
// the audit record, the metric label and docs/reasons.md (generated from this table).

/**
 * - `deny`: a verdict of the policy. - `auth`: who is asking is not known.
 * - `malformed`: input that cannot be read in exactly one way. - `limit`: a bound on time, size or number.
 * - `fault`: ours or upstream's failure, not a verdict.
 */
export type ReasonKind = "deny" | "auth" | "malformed" | "limit" | "fault";

type Entry = {
  readonly kind: ReasonKind;
  /** HTTP status of the refusal. */
  readonly status: number;
  /** RFC 9209 §2.3 proxy error type. */
  readonly proxyError: string;
  /** One sentence for a person or an agent; names no inside address, path or rule. */
  readonly text: string;
};

const deny = (text: string): Entry => ({
  kind: "deny",
  status: 403,
  proxyError: "http_request_denied",
  text,
});
const guard = (text: string): Entry => ({
  kind: "deny",
  status: 403,
  proxyError: "destination_ip_prohibited",
  text,
});
const malformed = (text: string, status = 400): Entry => ({
  kind: "malformed",
  status,
  proxyError: "http_request_error",
  text,
});
const limit = (status: number, text: string): Entry => ({
  kind: "limit",
  status,
  proxyError: "http_request_denied",
  text,
});
const fault = (status: number, proxyError: string, text: string): Entry => ({
  kind: "fault",
  status,
  proxyError,
  text,
});

export const REASONS = {
  // verdicts
  lockdown: deny("By an operator's order nothing may leave this sandbox until it is lifted."),
  requirement: deny("An administrator's requirements forbid this, whatever the policy says."),
  "host-not-allowed": deny("This host is not on the allowlist."),
  "host-denied": deny("A deny rule names this host."),
  "address-literal": deny("Hosts must be named; address literals are allowed only where a rule names them."),
  "port-not-allowed": deny("This port is not allowed for this host."),
  "method-not-allowed": deny("This method is not allowed for this host; fetching may be, sending is not."),
  "path-not-allowed": deny("This path is not allowed on this host."),
  "path-ambiguous": deny("The path can be read in more than one way, and a path rule applies to this host."),
  "push-not-allowed": deny("Cloning and fetching are allowed here; pushing is not."),
  "upgrade-not-allowed": deny("Protocol upgrades (WebSocket) are not allowed under a method limit."),
  "method-override": deny("Method-override headers are not allowed under a method limit."),
  "body-not-allowed": deny("A body is not allowed with this method under a method limit."),
  "sni-mismatch": deny("The TLS server name differs from the host named in CONNECT."),
  "secret-needs-tls": deny(
    "Requests to this host carry a secret that is put in on the way, so they must use https.",
  ),
  "host-mismatch": deny("Host, request target and tunnel disagree about where this request goes."),
  "not-tls": deny("Only TLS may be spoken inside a tunnel."),
  "protocol-not-allowed": deny(
    "Only TLS and HTTP may be spoken here; anything else only where a rule allows raw TCP.",
  ),
  "command-not-allowed": deny("Of SOCKS5 only CONNECT is allowed, not BIND or UDP ASSOCIATE."),
  "tunnel-within-tunnel": deny("CONNECT is not allowed inside a tunnel."),
  "dns-type-not-allowed": deny("Only addresses (A, AAAA) are answered here."),
  "loop-detected": deny("The request has already passed through this proxy."),
  "approval-required": deny(
    "No rule allows this; somebody was asked to approve it, and has not decided yet.",
  ),
  "approval-denied": deny("No rule allows this; somebody was asked to approve it, and denied it."),
  "policy-changed": deny("The policy changed and no longer allows this."),
  "address-own": guard("The proxy does not connect to itself."),
  "address-loopback": guard("The host resolves to a loopback address."),
  "address-private": guard("The host resolves to a private address."),
  "address-link-local": guard("The host resolves to a link-local address."),
  "address-metadata": guard("The host resolves to a cloud metadata address."),
  "address-cgnat": guard("The host resolves to a shared (carrier-grade NAT) address."),
  "address-multicast": guard("The host resolves to a multicast or broadcast address."),
  "address-reserved": guard("The host resolves to a reserved or unspecified address."),
  "address-embedded": guard("The host resolves to an IPv6 address that embeds an IPv4 one."),

  // identity
  "credentials-missing": {
    kind: "auth",
    status: 407,
    proxyError: "http_request_denied",
    text: "This proxy needs a sandbox's credentials (Proxy-Authorization: Basic).",
  },
  "credentials-wrong": {
    kind: "auth",
    status: 407,
    proxyError: "http_request_denied",
    text: "These sandbox credentials are not known.",
  },

  "client-certificate-refused": {
    kind: "auth",
    status: 407,
    proxyError: "http_request_denied",
    text: "The client certificate is not accepted here.",
  },

  // input
  "request-malformed": malformed("The request line or a header field is malformed."),
  "authority-malformed": malformed("The host or port is not in its canonical spelling."),
  "target-malformed": malformed("The request target is malformed."),
  "host-ambiguous": malformed("The request must have exactly one Host field."),
  "length-ambiguous": malformed("The length of the body is stated twice, or in a form that can be misread."),
  "chunk-malformed": malformed("The chunked body is malformed."),
  "version-unsupported": malformed("Only HTTP/1.1 and HTTP/1.0 are spoken here.", 505),
  "expectation-unsupported": malformed("The only expectation understood is 100-continue.", 417),
  "client-hello-malformed": malformed("The TLS ClientHello is malformed."),
  "sni-missing": malformed("The TLS ClientHello names no server, so nothing says where it is meant to go."),
  "not-a-proxy": malformed("This port takes redirected connections; it is no proxy port."),
  "dns-malformed": malformed("The DNS message is not one plain question."),
  "socks-malformed": malformed("The SOCKS5 handshake is malformed."),
  "proxy-header-malformed": malformed("The balancer's PROXY header is missing or malformed."),
  "tls-not-configured": malformed("This proxy does not speak TLS itself; its URL begins with http://."),
  "proxy-name-unknown": malformed("The TLS server name is not one of this proxy's."),
  "handshake-failed": malformed(
    "The TLS handshake with the sandbox failed; it may not trust the proxy's CA.",
  ),

  // bounds
  "head-too-large": limit(431, "The request line and header fields are too large."),
  "request-timeout": limit(408, "The request did not arrive in time."),
  "too-many-connections": limit(503, "Too many connections."),
  "dns-flood": limit(503, "Too many DNS questions at once."),
  "too-many-streams": limit(503, "Too many HTTP/2 streams at once."),
  "too-many-frames": limit(503, "Too many HTTP/2 frames or streams that come to nothing."),
  "budget-spent": limit(429, "A budget of this sandbox is spent: of octets, requests, connections or hosts."),
  "mint-limit": limit(503, "Too many new TLS names at once."),
  draining: limit(503, "The proxy is stopping."),

  // faults
  "audit-unavailable": fault(
    503,
    "proxy_internal_error",
    "The audit log cannot be written, so nothing is forwarded.",
  ),
  "budget-unavailable": fault(
    503,
    "proxy_internal_error",
    "How much is left of a budget of this sandbox cannot be known at the moment.",
  ),
  "mint-unavailable": fault(
    503,
    "proxy_internal_error",
    "The certificate for this TLS name could not be made in time.",
  ),
  "internal-error": fault(
    500,
    "proxy_internal_error",
    "The proxy failed; the audit id identifies this request.",
  ),
  "dns-not-found": fault(502, "dns_error", "The host name does not exist."),
  "dns-failed": fault(502, "dns_error", "The host name could not be resolved."),
  "dns-timeout": fault(504, "dns_timeout", "Resolving the host name took too long."),
  "upstream-refused": fault(502, "connection_refused", "The origin refused the connection."),
  "upstream-unreachable": fault(502, "destination_ip_unroutable", "The origin cannot be reached."),
  "upstream-timeout": fault(504, "connection_timeout", "The origin did not accept a connection in time."),
  "upstream-reset": fault(502, "connection_terminated", "The origin closed the connection before answering."),
  "upstream-read-timeout": fault(504, "connection_read_timeout", "The origin did not answer in time."),
  "upstream-malformed": fault(502, "http_protocol_error", "The origin's answer is malformed."),
  "upstream-head-too-large": fault(
    502,
    "http_response_header_section_size",
    "The origin's answer has too many header fields.",
  ),
  "upstream-upgrade-failed": fault(
    502,
    "http_upgrade_failed",
    "The origin's answer to the upgrade is wrong.",
  ),
  "upstream-tls-failed": fault(502, "tls_protocol_error", "The TLS handshake with the origin failed."),
  "certificate-expired": fault(502, "tls_certificate_error", "The origin's certificate has expired."),
  "certificate-not-yet-valid": fault(
    502,
    "tls_certificate_error",
    "The origin's certificate is not valid yet.",
  ),
  "certificate-untrusted": fault(
    502,
    "tls_certificate_error",
    "The origin's certificate is not issued by a trusted authority.",
  ),
  "certificate-name-mismatch": fault(
    502,
    "tls_certificate_error",
    "The origin's certificate does not name this host.",
  ),
  "certificate-revoked": fault(502, "tls_certificate_error", "The origin's certificate has been revoked."),
  "certificate-weak": fault(
    502,
    "tls_certificate_error",
    "The origin's certificate uses a weak key or signature.",
  ),
  "certificate-invalid": fault(502, "tls_certificate_error", "The origin's certificate chain is not valid."),
  "parent-unreachable": fault(502, "destination_unavailable", "The parent proxy cannot be reached."),
  "parent-prohibited": fault(
    502,
    "destination_ip_prohibited",
    "The parent proxy leads to an address that this proxy does not connect to.",
  ),
  "parent-timeout": fault(504, "connection_timeout", "The parent proxy did not open a tunnel in time."),
  "parent-untrusted": fault(502, "tls_certificate_error", "The parent proxy could not prove who it is."),
  "parent-auth-failed": fault(
    502,
    "proxy_configuration_error",
    "The parent proxy does not accept this proxy's credentials.",
  ),
  "parent-refused": fault(
    502,
    "destination_unavailable",
    "The parent proxy refused to open a tunnel to the origin.",
  ),
  "parent-malformed": fault(502, "http_protocol_error", "The parent proxy's answer is malformed."),
} as const satisfies Record<string, Entry>;

export type Reason = keyof typeof REASONS;
