// Which of several means counts, where they agree and where they do not; and whose an address is.

import { expect, test } from "vitest";
import { agree, MEANS } from "../../src/identity/means.ts";
import { Sources } from "../../src/identity/sources.ts";

test("the first that says anything counts, and all that say anything must say the same", () => {
  // Every combination of: says nothing, says a, says b, names nobody.
  const values = [undefined, "a", "b", null] as const;
  for (let code = 0; code < values.length ** MEANS.length; code++) {
    const said = MEANS.map((_, at) => values[Math.floor(code / values.length ** at) % values.length]);
    const claims = Object.fromEntries(MEANS.map((means, at) => [means, said[at]]));
    const agreed = agree<string>(claims);
    const heard = said.filter((one) => one !== undefined);
    if (heard.length === 0) expect(agreed).toEqual({ ok: true, who: undefined, by: "anonymous" });
    else if (heard.includes(null) || new Set(heard).size > 1) expect(agreed.ok).toBe(false);
    else
      expect(agreed).toEqual({
        ok: true,
        who: heard[0],
        by: MEANS[said.findIndex((one) => one !== undefined)],
      });
  }
});

test("the narrowest network counts, what several claim is several's, and what is given up is nobody's", () => {
  const sources = new Sources();
  sources.set("wide", ["10.0.0.0/8", "2001:db8::/32"]);
  sources.set("narrow", ["10.1.2.0/24"]);
  sources.set("host", ["10.1.2.3", "2001:db8::1"]);
  const whose = (address: string): string => [...sources.find(address)].join(" ");
  const all = (): string[] =>
    ["9.255.255.255", "10.0.0.0", "10.1.1.255", "10.1.2.0", "10.1.2.3", "10.1.3.0", "11.0.0.0"].map(whose);
  expect(all()).toEqual(["", "wide", "wide", "narrow", "host", "wide", ""]);
  expect(["2001:db8::1", "2001:db8::2", "2001:db9::", "::ffff:10.1.2.3"].map(whose)).toEqual([
    "host",
    "wide",
    "",
    "host",
  ]);
  expect(["unknown", "unix:/run/a.sock", "10.1.2", "fe80::1%eth0"].map(whose)).toEqual(["", "", "", ""]);
  sources.set("other", ["10.1.2.3"]);
  expect(whose("10.1.2.3")).toBe("host other");
  sources.set("host", []);
  sources.set("other", []);
  sources.set("narrow", ["10.1.3.0/24"]);
  expect(all()).toEqual(["", "wide", "wide", "wide", "wide", "narrow", ""]);
});
