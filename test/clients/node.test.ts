import { fileURLToPath } from "node:url";
import { describeClient, SECRET } from "./suite.ts";

const program = (name: string): string => fileURLToPath(new URL(`programs/${name}`, import.meta.url));

for (const { name, path, tunnelsPlain } of [
  { name: "Node fetch", path: program("fetch.mjs"), tunnelsPlain: true },
  { name: "undici EnvHttpProxyAgent", path: program("undici.mjs"), tunnelsPlain: false },
]) {
  describeClient({
    name,
    programs: [],
    tunnelsPlain,
    request: (method, url) => [process.execPath, path, method, url, ...(method === "GET" ? [] : [SECRET])],
    shows: {
      // undici shows the status of a refused CONNECT, and not the status line.
      refusedHost: /Proxy response \(403\) !== 200 when HTTP Tunneling/,
      refusedMethod: /reason: {2}method-not-allowed/,
    },
  });
}
