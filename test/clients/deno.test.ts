import { fileURLToPath } from "node:url";
import { findProgram } from "../support/programs.ts";
import { describeClient, SECRET } from "./suite.ts";

describeClient({
  name: "Deno fetch (rustls)",
  programs: ["deno"],
  request: (method, url) => [
    // It asks for a newer Deno now and then, as a request of its own.
    "env",
    "DENO_NO_UPDATE_CHECK=1",
    findProgram("deno") ?? "deno",
    "run",
    "--quiet",
    "--no-remote",
    "--no-config",
    "--allow-net",
    "--allow-env",
    PROGRAM,
    method,
    url,
    ...(method === "GET" ? [] : [SECRET]),
  ],
  trust: {
    // The last of them as one of the system's roots, which DENO_TLS_CA_STORE asks for.
    variables: ["DENO_CERT", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"],
    refused: /invalid peer certificate: UnknownIssuer/,
  },
  shows: {
    // Deno keeps the status line of a refused CONNECT to itself.
    refusedHost: /error sending request .*: unsuccessful tunnel/,
    refusedMethod: /reason: {2}method-not-allowed/,
  },
});

const PROGRAM = fileURLToPath(new URL("programs/fetch.deno.mjs", import.meta.url));
