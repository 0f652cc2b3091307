import { inspect } from "node:util";
import { expect, test } from "vitest";
import { parseProxyUrl } from "../../src/net/proxy-url.ts";

test.each<[string, object]>([
  ["http://proxy.example:8080", { secure: false, host: "proxy.example", port: 8080 }],
  ["https://proxy.example:443/", { secure: true, host: "proxy.example", port: 443 }],
  ["http://PROXY.Example.:1", { secure: false, host: "proxy.example", port: 1 }],
  ["http://bücher.example:65535", { secure: false, host: "xn--bcher-kva.example", port: 65_535 }],
  ["http://192.0.2.1:3128", { secure: false, host: "192.0.2.1", port: 3128 }],
  ["http://[2001:DB8::1]:3128", { secure: false, host: "2001:db8::1", port: 3128 }],
])("%s", (text, expected) => {
  expect(parseProxyUrl(text)).toEqual({ ...expected, credentials: undefined });
});

test.each<[string, string]>([
  ["user:secret", "user:secret"],
  ["user", "user:"],
  ["user:", "user:"],
  [":token", ":token"],
  ["user:a:b", "user:a:b"],
  ["us%20er:p%40ss%3Aw%2Ford%25", "us er:p@ss:w/ord%"],
  ["user:p%C3%A4ss", "user:päss"],
  ["DOM%5Cuser:x", "DOM\\user:x"],
])("credentials %s are percent-decoded", (written, expected) => {
  const url = parseProxyUrl(`http://${written}@proxy.example:8080`);
  expect(url?.credentials?.reveal()).toBe(expected);
  expect(`${JSON.stringify(url)}${inspect(url)}`).not.toContain(expected);
});

test.each([
  "",
  "proxy.example:8080",
  "//proxy.example:8080",
  "HTTP://proxy.example:8080",
  "socks5://proxy.example:1080",
  "http://proxy.example",
  "http://proxy.example:",
  "http://proxy.example:0",
  "http://proxy.example:080",
  "http://proxy.example:65536",
  "http://proxy.example:8080/path",
  "http://proxy.example:8080//",
  "http://proxy.example:8080?query",
  "http://proxy.example:8080#fragment",
  " http://proxy.example:8080",
  "http://proxy.example:8080\n",
  "http://proxy..example:8080",
  "http://127.1:8080",
  "http://2001:db8::1:8080",
  "http://[2001:db8::1]",
  "http://[proxy.example]:8080",
  "http://:8080",
  "http://@proxy.example:8080",
  "http://:@proxy.example:8080",
  "http://user:a@b@proxy.example:8080",
  "http://user:a/b@proxy.example:8080",
  "http://us%3Aer:x@proxy.example:8080",
  "http://user:%0d%0aX: y@proxy.example:8080",
  "http://user:%00@proxy.example:8080",
  "http://user:%@proxy.example:8080",
  "http://user:%ff@proxy.example:8080",
  "http://user:pass word@proxy.example:8080",
])("%j is no proxy's URL", (text) => {
  expect(parseProxyUrl(text)).toBeUndefined();
});
