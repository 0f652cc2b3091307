import { fileURLToPath } from "node:url";
import { describeClient, SECRET } from "./suite.ts";

// One JVM asks with both of the JDK's clients, since starting one takes seconds.
describeClient({
  name: "Java HttpsURLConnection and HttpClient",
  programs: ["java", "javac"],
  // The JDK takes credentials from an Authenticator only, which is code.
  anonymous: true,
  async prepare(sandbox) {
    const built = await sandbox.run(["javac", "-d", sandbox.home, PROGRAM]);
    if (built.code !== 0) throw new Error(built.seen);
  },
  request: (method, url, { home }) =>
    ["java", "-XX:TieredStopAtLevel=1", "-cp", home, "Fetch", method, url].concat(
      method === "GET" ? [] : SECRET,
    ),
  shows: {
    // HttpClient keeps the status line of a refused CONNECT to itself.
    refusedHost:
      /Proxy returns "HTTP\/1\.1 403 Forbidden \(sallyport: host-not-allowed\)"[^]*Tunnel failed, got: 403/,
    refusedMethod: /(?:reason: {2}method-not-allowed[^]*){2}/,
  },
});

const PROGRAM = fileURLToPath(new URL("programs/Fetch.java", import.meta.url));
