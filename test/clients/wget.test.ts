import { describeClient, SECRET } from "./suite.ts";

describeClient({
  name: "wget",
  programs: ["wget"],
  request: (method, url) => [
    "wget",
    "-nv",
    "--tries=1",
    "-O-",
    ...(method === "GET" ? [] : [`--post-data=${SECRET}`]),
    url,
  ],
  shows: {
    refusedHost: /Proxy tunneling failed: Forbidden \(sallyport: host-not-allowed\)/,
    refusedMethod: /ERROR 403: Forbidden \(sallyport: method-not-allowed\)/,
  },
});
