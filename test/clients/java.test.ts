import { fileURLToPath } from "node:url";
import { describeClient, SECRET } from "./suite.ts";

for (const { name, flavour, refusedHost } of [
  {
    name: "Java HttpsURLConnection",
    flavour: "HttpURLConnection",
    refusedHost: /Proxy returns "HTTP\/1\.1 403 Forbidden \(sallyport: host-not-allowed\)"/,
  },
  // It keeps the status line of a refused CONNECT to itself.
  { name: "Java HttpClient", flavour: "HttpClient", refusedHost: /Tunnel failed, got: 403/ },
]) {
  describeClient({
    name,
    programs: ["java", "javac"],
    // The JDK takes credentials from an Authenticator only, which is code.
    anonymous: true,
    async prepare(sandbox) {
      const built = await sandbox.run(["javac", "-d", sandbox.home, PROGRAM]);
      if (built.code !== 0) throw new Error(built.seen);
    },
    request: (method, url, { home }) => [
      "java",
      "-XX:TieredStopAtLevel=1",
      "-cp",
      home,
      "Fetch",
      flavour,
      method,
      url,
      ...(method === "GET" ? [] : [SECRET]),
    ],
    shows: {
      refusedHost,
      refusedMethod: /reason: {2}method-not-allowed/,
    },
  });
}

const PROGRAM = fileURLToPath(new URL("programs/Fetch.java", import.meta.url));
