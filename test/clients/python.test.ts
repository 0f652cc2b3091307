import { fileURLToPath } from "node:url";
import { findPython } from "./sandbox.ts";
import { describeClient, SECRET } from "./suite.ts";

describeClient({
  name: "Python urllib",
  programs: ["python3"],
  request: (method, url) => [findPython(), PROGRAM, method, url, ...(method === "GET" ? [] : [SECRET])],
  shows: {
    refusedHost: /Tunnel connection failed: 403 Forbidden \(sallyport: host-not-allowed\)/,
    refusedMethod: /HTTP Error 403: Forbidden \(sallyport: method-not-allowed\)/,
  },
});

const PROGRAM = fileURLToPath(new URL("programs/fetch.py", import.meta.url));
