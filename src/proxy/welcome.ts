// http://sallyport.internal/: the one host that the proxy itself answers for. It serves the trust anchor and how to trust
// it, to whoever can reach the proxy, and nothing else.

import type { Course } from "./course.ts";
import type { Inquiry } from "./inquiry.ts";
import { type ImageSystem, setupScript } from "./setup-script.ts";

export function isWelcome({ scheme, target }: Inquiry): boolean {
  return target.host === OWN_NAME && scheme === "http" && target.port === 80;
}

export async function welcome(course: Course, trustAnchor: string): Promise<void> {
  const page = PAGES[course.subject.path ?? "/"];
  const { method } = course.down.request.head;
  if (page === undefined) return course.refuse({ reason: "path-not-allowed" });
  if (method !== "GET" && method !== "HEAD") return course.refuse({ reason: "method-not-allowed" });
  await course.allow({ rule: OWN_RULE, preset: undefined, handling: "intercept", wouldDeny: undefined }, {});
  const body = Buffer.from(page.body(trustAnchor));
  course.answering(200);
  const sink = course.down.respond(
    {
      status: 200,
      reason: "OK",
      headers: ["Content-Type", page.type, "Cache-Control", "no-cache", "X-Content-Type-Options", "nosniff"],
    },
    { kind: "known", octets: body.length },
  );
  sink.write(body);
  sink.end([]);
}

export const OWN_RULE = { id: "sallyport.internal", source: "built-in" };
export const OWN_NAME = "sallyport.internal";

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

What is refused answers with a reason and an audit id; whoever runs this sandbox can look it up.
`;

function setupPage(system: ImageSystem) {
  return {
    type: "text/x-shellscript; charset=utf-8",
    body: (trustAnchor: string) => setupScript(system, trustAnchor),
  };
}

const PAGES: Readonly<
  Record<string, { readonly type: string; readonly body: (trustAnchor: string) => string }>
> = {
  "/": { type: "text/plain; charset=utf-8", body: () => GUIDE },
  "/ca.pem": { type: "application/x-pem-file", body: (trustAnchor) => trustAnchor },
  "/setup/debian": setupPage("debian"),
  "/setup/alpine": setupPage("alpine"),
  "/setup/rhel": setupPage("rhel"),
};
