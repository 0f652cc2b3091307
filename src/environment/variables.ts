// The environment variables that make a sandbox's programs use the proxy and trust its CA: one table, from which `sallyport env`,
// the tests' sandboxes and docs/environment.md are made. It must never name the trust anchor's key.

import type { SandboxFiles } from "./files.ts";

export type SandboxEnvironmentInput = {
  /** With the sandbox's credentials, if it has any, percent-encoded. */
  readonly proxyUrl: string;
  readonly files: SandboxFiles;
};

export type Variable = {
  /** Every spelling that is set; all get the same value. */
  readonly names: readonly string[];
  readonly readBy: string;
  /** The value in words, for the documentation. */
  readonly meaning: string;
  readonly value: (input: SandboxEnvironmentInput) => string;
};

const proxy = (input: SandboxEnvironmentInput): string => input.proxyUrl;
const ca = (input: SandboxEnvironmentInput): string => input.files.ca;
const bundle = (input: SandboxEnvironmentInput): string => input.files.bundle;

export const VARIABLES: readonly Variable[] = [
  {
    names: ["HTTP_PROXY", "http_proxy"],
    readBy: "nearly everything, for http:// (curl and wget read the lower case only)",
    meaning: "proxy URL",
    value: proxy,
  },
  {
    names: ["HTTPS_PROXY", "https_proxy"],
    readBy: "nearly everything, for https://",
    meaning: "proxy URL",
    value: proxy,
  },
  {
    names: ["ALL_PROXY", "all_proxy"],
    readBy:
      "curl, git, reqwest and httpx, for schemes without a variable of their own: they get a refusal instead of a timeout",
    meaning: "proxy URL",
    value: proxy,
  },
  {
    names: ["NO_PROXY", "no_proxy"],
    readBy: "the same programs: what stays inside the sandbox",
    meaning: "`localhost,127.0.0.1,::1`",
    value: () => "localhost,127.0.0.1,::1",
  },
  {
    names: ["NODE_USE_ENV_PROXY"],
    readBy:
      "Node 22.21, 24.5 and newer: fetch, http and https heed the proxy variables (fetch tunnels http:// too, which is refused as `not-tls`)",
    meaning: "`1`",
    value: () => "1",
  },
  {
    names: ["YARN_HTTP_PROXY", "YARN_HTTPS_PROXY"],
    readBy: "Yarn 2 and newer, which ignores HTTP_PROXY (its CA comes from NODE_EXTRA_CA_CERTS)",
    meaning: "proxy URL",
    value: proxy,
  },
  {
    names: ["NODE_EXTRA_CA_CERTS"],
    readBy: "Node, Yarn, pnpm, Bun, Deno 2.8: added to the roots they have",
    meaning: "CA",
    value: ca,
  },
  {
    names: ["SSL_CERT_FILE"],
    readBy:
      "OpenSSL, Go, Python's ssl and httpx, uv, Ruby, PHP Composer, .NET, rustls-native-certs: in place of the system's file",
    meaning: "bundle",
    value: bundle,
  },
  { names: ["CURL_CA_BUNDLE"], readBy: "curl, Python requests", meaning: "bundle", value: bundle },
  { names: ["GIT_SSL_CAINFO"], readBy: "git", meaning: "bundle", value: bundle },
  {
    names: ["GIT_HTTP_PROXY_AUTHMETHOD"],
    readBy:
      "git: sends the sandbox's credentials at once; else it connects without, and where that is allowed it stays anonymous",
    meaning: "`basic`",
    value: () => "basic",
  },
  {
    names: ["REQUESTS_CA_BUNDLE"],
    readBy: "Python requests, conda, Poetry",
    meaning: "bundle",
    value: bundle,
  },
  { names: ["PIP_CERT"], readBy: "pip", meaning: "bundle", value: bundle },
  { names: ["HTTPLIB2_CA_CERTS"], readBy: "Python httplib2", meaning: "bundle", value: bundle },
  { names: ["DENO_CERT"], readBy: "Deno: added to the roots it has", meaning: "CA", value: ca },
  {
    names: ["DENO_TLS_CA_STORE"],
    readBy: "Deno: the system's roots as well as its own",
    meaning: "`system,mozilla`",
    value: () => "system,mozilla",
  },
  {
    names: ["npm_config_cafile"],
    readBy: "npm (any case) and pnpm (lower case): in place of Node's roots",
    meaning: "bundle",
    value: bundle,
  },
  { names: ["CARGO_HTTP_CAINFO"], readBy: "cargo", meaning: "bundle", value: bundle },
  { names: ["BUNDLE_SSL_CA_CERT"], readBy: "Bundler", meaning: "bundle", value: bundle },
  { names: ["AWS_CA_BUNDLE"], readBy: "AWS CLI and SDKs", meaning: "bundle", value: bundle },
  {
    names: ["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"],
    readBy: "Google Cloud CLI",
    meaning: "bundle",
    value: bundle,
  },
  {
    names: ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"],
    readBy: "gRPC (C core: C++, Python, Ruby, PHP)",
    meaning: "bundle",
    value: bundle,
  },
  { names: ["HEX_CACERTS_PATH"], readBy: "Hex (Elixir, Erlang)", meaning: "bundle", value: bundle },
  { names: ["NIX_SSL_CERT_FILE"], readBy: "Nix", meaning: "bundle", value: bundle },
  {
    names: ["WGETRC"],
    readBy: "wget, which has no variable for a CA; replaces ~/.wgetrc",
    meaning: "a wgetrc that names the bundle",
    value: (input) => input.files.wgetrc,
  },
  {
    names: ["APT_CONFIG"],
    readBy: "apt, ahead of /etc/apt",
    meaning: "an apt.conf that names the bundle",
    value: (input) => input.files.aptConf,
  },
  {
    names: ["JAVA_TOOL_OPTIONS"],
    readBy: "every JVM (it says so on stderr): Maven, Gradle, sbt",
    meaning: "trust store, proxy host and port, credentials",
    value: javaToolOptions,
  },
];

export function sandboxEnvironment(input: SandboxEnvironmentInput): Record<string, string> {
  return Object.fromEntries(
    VARIABLES.flatMap(({ names, value }) => {
      const text = value(input);
      return names.map((name) => [name, text] as const);
    }),
  );
}

/** As somebody on this machine reaches it. */
export function proxyUrlOf({ host, port }: { readonly host: string; readonly port: number }): string {
  const reached = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
  return `http://${reached.includes(":") ? `[${reached}]` : reached}:${port}`;
}

/** Any text as one part of a proxy URL's userinfo; `encodeURIComponent` leaves a few that shells and URL readers trip over. */
export function proxyUrlWith(proxyUrl: string, credentials: { id: string; secret: string }): string {
  const encode = (text: string): string =>
    encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const url = new URL(proxyUrl);
  return `${url.protocol}//${encode(credentials.id)}:${encode(credentials.secret)}@${url.host}`;
}

function javaToolOptions({ proxyUrl, files }: SandboxEnvironmentInput): string {
  const url = new URL(proxyUrl);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  const options = [
    ["javax.net.ssl.trustStore", files.truststore],
    ["javax.net.ssl.trustStoreType", "PKCS12"],
    ["javax.net.ssl.trustStorePassword", files.truststorePassword],
    ["http.proxyHost", host],
    ["http.proxyPort", port],
    ["https.proxyHost", host],
    ["https.proxyPort", port],
    ["http.nonProxyHosts", "localhost|127.*|[::1]"],
  ];
  if (url.username !== "") {
    const user = decodeURIComponent(url.username);
    const password = decodeURIComponent(url.password);
    options.push(
      ["http.proxyUser", user],
      ["http.proxyPassword", password],
      ["https.proxyUser", user],
      ["https.proxyPassword", password],
      // The JDK refuses Basic credentials for CONNECT unless this list is emptied.
      ["jdk.http.auth.tunneling.disabledSchemes", ""],
    );
  }
  return options.map(([name, value]) => `-D${name}=${javaQuoted(value ?? "")}`).join(" ");
}

/** The JVM splits at white space and takes quoted runs as they are, with no escapes: so a double quote stands inside single ones. */
function javaQuoted(text: string): string {
  if (!/[\s'"]/.test(text)) return text;
  return text
    .split(/("+)/)
    .filter((part) => part !== "")
    .map((part) => (part.startsWith('"') ? `'${part}'` : `"${part}"`))
    .join("");
}
