import { describeClient, SECRET } from "./suite.ts";

describeClient({
  name: "curl",
  programs: ["curl"],
  request: (method, url) =>
    method === "GET" ? ["curl", "-sS", url] : ["curl", "-sS", "--data-binary", SECRET, url],
  shows: {
    // The reason stands in the status line, which curl shows with -v only.
    refusedHost: /CONNECT tunnel failed, response 403/,
    refusedMethod: /reason: {2}method-not-allowed/,
  },
});

describeClient({
  name: "curl -v",
  programs: ["curl"],
  request: (method, url) =>
    method === "GET" ? ["curl", "-v", url] : ["curl", "-v", "--data-binary", SECRET, url],
  shows: {
    refusedHost: /< HTTP\/1\.1 403 Forbidden \(sallyport: host-not-allowed\)/,
    refusedMethod: /< Sallyport-Reason: method-not-allowed/,
  },
});
