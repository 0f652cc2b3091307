import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describeClient, SECRET } from "./suite.ts";

describeClient({
  name: "Go net/http",
  programs: ["go"],
  async prepare(sandbox) {
    const built = await sandbox.run(["go", "build", "-o", join(sandbox.home, "fetch"), PROGRAM], {
      variables: {
        GO111MODULE: "off",
        GOCACHE: join(sandbox.home, ".cache"),
        GOPATH: join(sandbox.home, "go"),
      },
    });
    if (built.code !== 0) throw new Error(built.seen);
  },
  request: (method, url, { home }) => [
    join(home, "fetch"),
    method,
    url,
    ...(method === "GET" ? [] : [SECRET]),
  ],
  shows: {
    refusedHost: /Get "https:\/\/attacker\.example:.*": Forbidden \(sallyport: host-not-allowed\)/,
    refusedMethod: /403 Forbidden \(sallyport: method-not-allowed\)[^]*reason: {2}method-not-allowed/,
  },
});

const PROGRAM = fileURLToPath(new URL("programs/fetch.go", import.meta.url));
