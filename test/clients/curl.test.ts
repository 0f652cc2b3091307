import { describeClient, SECRET } from "./suite.ts";

describeClient({
  name: "curl",
  programs: ["curl"],
  request: (method, url) =>
    method === "GET" ? ["curl", "-sS", url] : ["curl", "-sS", "--data-binary", SECRET, url],
  shows: {
    // The reason stands in the status line, which curl shows with -v only (attack.test.ts).
    refusedHost: /CONNECT tunnel failed, response 403/,
    refusedMethod: /reason: {2}method-not-allowed/,
  },
});
