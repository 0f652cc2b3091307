import { expect, test } from "vitest";

import { problemsOf, snapshotOf } from "./support.ts";

test("a set without problems compiles, with its generation", () => {
  const snapshot = snapshotOf({ name: "default" }, { name: "setup" });
  expect([snapshot.generation, [...snapshot.policies.keys()]]).toEqual([1, ["default", "setup"]]);
});

test("every problem is told, with its place", () => {
  expect(
    problemsOf({
      presets: [
        { name: "mine", patterns: ["Example.com", "10.0.0.0/8"] },
        { name: "all", patterns: ["example.com"] },
      ],
      allow: [
        { host: "*", source: "sallyport.yaml:7:9" },
        {
          host: "example.com",
          paths: ["a"],
          networks: ["10.0.0.1/8", "example.com"],
          source: "sallyport.yaml:8:9",
        },
      ],
      deny: [
        { host: "example.com.", source: "sallyport.yaml:9:9" },
        { host: "example.com", methods: [], ports: [], paths: [], source: "sallyport.yaml:10:9" },
      ],
      splice: [{ host: "example.com", ports: [], source: "sallyport.yaml:11:9" }],
    }),
  ).toEqual([
    "sallyport.yaml:9:9: `example.com.` is not in its canonical spelling; write `example.com`",
    "sallyport.yaml:10:9: an empty `methods` makes this deny rule match nothing; leave it out",
    "sallyport.yaml:10:9: an empty `ports` makes this deny rule match nothing; leave it out",
    "sallyport.yaml:10:9: an empty `paths` makes this deny rule match nothing; leave it out",
    "sallyport.yaml:7:9: a wildcard alone names every host; the preset `all` does that, and says so",
    "sallyport.yaml:8:9: `a` does not begin with `/`",
    "sallyport.yaml:8:9: `10.0.0.1/8` is not a network: the prefix is out of range, or address bits are set beyond it",
    "sallyport.yaml:8:9: `example.com` is not a network",
    "sallyport.yaml:11:9: an empty `ports` makes this splice rule match nothing; leave it out",
    "preset:mine: `Example.com` is not in its canonical spelling; write `example.com`",
    "preset:mine: `10.0.0.0/8`: only a rule can name an address, no preset",
    "preset:all: the preset `all` has no patterns",
  ]);
});

test("two policies cannot share a name", () => {
  expect(problemsOf({ name: "a" }, { name: "a" })).toEqual(["a: there is another policy named `a`"]);
});
