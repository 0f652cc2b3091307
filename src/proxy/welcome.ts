// http://sallyport.internal/: the one host that the proxy itself answers for, over TLS with a leaf of its own as well. It serves the trust
// anchor and how to trust it, to whoever can reach the proxy, and nothing else.

import type { Authority } from "../net/authority.ts";
import type { Allow, Deny } from "../policy/types.ts";
import type { Course } from "./course.ts";
import type { Inquiry } from "./inquiry.ts";
import { answerWith } from "./own-answer.ts";
import type { Parts } from "./parts.ts";
import { type ImageSystem, setupScript } from "./setup-script.ts";

export function isWelcome({ scheme, target }: Inquiry): boolean {
  return target.host === OWN_NAME && target.port === (scheme === "http" ? 80 : 443);
}

/** On a tunnel to that host, which no policy speaks of and nothing leaves by; `undefined`: it is to another. */
export function judgeOwn({ host, port }: Authority, sni: string | undefined): Allow | Deny | undefined {
  if (host !== OWN_NAME) return undefined;
  if (port !== 80 && port !== 443) return { action: "deny", reason: "port-not-allowed", ...OWN_DENY };
  if (sni !== undefined && sni !== host) return { action: "deny", reason: "sni-mismatch", ...OWN_DENY };
  return OWN_ALLOW;
}

export async function welcome(course: Course, { pages }: Parts): Promise<void> {
  const page = PAGES[course.subject.path ?? "/"];
  const { method } = course.down.request.head;
  if (page === undefined) return course.refuse({ reason: "path-not-allowed" });
  if (method !== "GET" && method !== "HEAD") return course.refuse({ reason: "method-not-allowed" });
  await course.allow(OWN_ALLOW, {});
  const body = Buffer.from(page.body(pages));
  course.answering(200);
  const headers = [
    "Content-Type",
    page.type,
    "Cache-Control",
    "no-cache",
    "X-Content-Type-Options",
    "nosniff",
  ];
  answerWith(course.down, { status: 200, reason: "OK", headers }, body);
}

export const OWN_NAME = "sallyport.internal";
export const OWN_RULE = { id: OWN_NAME, source: "built-in" };
const OWN_DENY = { rule: OWN_RULE, shown: undefined };
export const OWN_ALLOW: Allow = {
  action: "allow",
  rule: OWN_RULE,
  preset: undefined,
  handling: "intercept",
  wouldDeny: undefined,
};

const GUIDE = `This sandbox's network goes through Sallyport, a proxy that reads what it forwards.
Its certificates come from a trust anchor of its own. To trust it:

  curl -fsS http://sallyport.internal/ca.pem -o /tmp/sallyport.pem

  curl, OpenSSL, Python   export SSL_CERT_FILE=/tmp/sallyport.pem CURL_CA_BUNDLE=/tmp/sallyport.pem REQUESTS_CA_BUNDLE=/tmp/sallyport.pem
  git                     export GIT_SSL_CAINFO=/tmp/sallyport.pem
  Node                    export NODE_EXTRA_CA_CERTS=/tmp/sallyport.pem NODE_USE_ENV_PROXY=1
  Debian, Ubuntu          cp /tmp/sallyport.pem /usr/local/share/ca-certificates/sallyport.crt && update-ca-certificates
  Alpine                  cat /tmp/sallyport.pem >> /etc/ssl/certs/ca-certificates.crt
  Fedora, RHEL            cp /tmp/sallyport.pem /etc/pki/ca-trust/source/anchors/ && update-ca-trust
  Java                    keytool -importcert -noprompt -cacerts -storepass changeit -alias sallyport -file /tmp/sallyport.pem

The same for an image, as root:      curl -fsS http://sallyport.internal/setup/debian | sh     (or /setup/alpine, /setup/rhel)
What does not work here, and why:    curl -fsS http://sallyport.internal/doctor | sh

What is refused answers with a reason and an audit id; whoever runs this sandbox can look it up.
`;

function setupPage(system: ImageSystem) {
  return {
    type: "text/x-shellscript; charset=utf-8",
    body: ({ trustAnchor }: Served) => setupScript(system, trustAnchor),
  };
}

type Served = Parts["pages"];

const PAGES: Readonly<Record<string, { readonly type: string; readonly body: (served: Served) => string }>> =
  {
    "/": { type: "text/plain; charset=utf-8", body: () => GUIDE },
    "/ca.pem": { type: "application/x-pem-file", body: ({ trustAnchor }) => trustAnchor },
    "/setup/debian": setupPage("debian"),
    "/setup/alpine": setupPage("alpine"),
    "/setup/rhel": setupPage("rhel"),
    "/doctor": { type: "text/x-shellscript; charset=utf-8", body: ({ doctor }) => doctor },
  };
