import { inspect } from "node:util";
import { expect, test } from "vitest";
import { isPostgresUrl, parsePostgresUrl } from "../../src/net/postgres-url.ts";

const plain = { port: 5432, user: "u", password: undefined, database: "d", tls: undefined, exposed: false };
const verified = { anchors: undefined, certificate: undefined };

test.each<[string, object]>([
  ["postgres://u@db.example/d", { server: { host: "db.example" }, tls: verified }],
  ["postgresql://u@DB.Example.:6432/d", { server: { host: "db.example" }, port: 6432, tls: verified }],
  ["postgres://u@10.0.0.5/d", { server: { host: "10.0.0.5" }, tls: verified }],
  ["postgres://u@[2001:DB8::1]:1/d", { server: { host: "2001:db8::1" }, port: 1, tls: verified }],
  ["postgres://u@localhost/d", { server: { host: "localhost" } }],
  ["postgres://u@127.9.0.1/d", { server: { host: "127.9.0.1" } }],
  ["postgres://u@[::1]/d", { server: { host: "::1" } }],
  ["postgres://u@localhost.example/d", { server: { host: "localhost.example" }, tls: verified }],
  ["postgres://u@localhost/d?sslmode=verify-full", { server: { host: "localhost" }, tls: verified }],
  ["postgres://u@localhost/d?sslmode=disable", { server: { host: "localhost" } }],
  ["postgres://u@db.example/d?sslmode=disable", { server: { host: "db.example" }, exposed: true }],
  ["postgres://u@128.0.0.1/d?sslmode=disable", { server: { host: "128.0.0.1" }, exposed: true }],
  ["postgres://u@/d?host=/run/postgresql", { server: { directory: "/run/postgresql" } }],
  ["postgres://u@localhost:99/d?host=%2Frun&sslmode=disable", { server: { directory: "/run" }, port: 99 }],
  [
    "postgres://u@localhost/d?sslrootcert=/etc/ca.pem",
    { server: { host: "localhost" }, tls: { ...verified, anchors: "/etc/ca.pem" } },
  ],
  [
    "postgres://u@db.example/d?sslcert=/a%20b.pem&sslkey=/c&sslmode=verify-full",
    {
      server: { host: "db.example" },
      tls: { anchors: undefined, certificate: { chain: "/a b.pem", key: "/c" } },
    },
  ],
  ["postgres://u%40x@localhost/d%2Fe", { server: { host: "localhost" }, user: "u@x", database: "d/e" }],
  ["postgres://u:@localhost/d", { server: { host: "localhost" } }],
  ["postgres://u@localhost/d?", { server: { host: "localhost" } }],
])("%s", (text, expected) => {
  expect(parsePostgresUrl(text)).toEqual({ ...plain, ...expected });
});

test("the password is percent-decoded, and not printed", () => {
  const url = parsePostgresUrl("postgres://u:p%40ss%3Aw:%2Ford%25@db.example/d");
  expect("password" in url && url.password?.reveal()).toBe("p@ss:w:/ord%");
  expect(`${JSON.stringify(url)}${inspect(url)}`).not.toContain("ord%");
});

test.each<[string, RegExp]>([
  ["postgres:", /^expected postgres:\/\/user/],
  ["postgres://", /^expected postgres:/],
  ["postgres://localhost/d", /^expected postgres:/],
  ["postgres://u@localhost", /^expected postgres:/],
  ["postgres://u@localhost/", /^expected postgres:/],
  ["postgres://@localhost/d", /^expected postgres:/],
  ["postgres://:hunter2@localhost/d", /^expected postgres:/],
  ["postgres://u@/d", /^expected postgres:/],
  ["postgres://u@a.example,b.example/d", /^expected postgres:/],
  ["postgres://u@localhost:0/d", /^expected postgres:/],
  ["postgres://u@localhost:65536/d", /^expected postgres:/],
  ["postgres://u@127.1/d", /^expected postgres:/],
  ["postgres://u@localhost/d/e", /^expected postgres:/],
  ["postgres://u@localhost/d#x", /^expected postgres:/],
  ["postgres://u@localhost/d e", /^expected postgres:/],
  ["postgres://u:hunter2%@localhost/d", /^expected postgres:/],
  ["postgres://u:hunter2%00@localhost/d", /^expected postgres:/],
  ["postgres://%ff@localhost/d", /^expected postgres:/],
  ["postgres://u@localhost/%0a", /^expected postgres:/],
  ["postgres://u:hunter2@x@localhost/d", /^expected postgres:/],
  ["postgres://u:hunter2/x@localhost/d", /^expected postgres:/],
  ["postgres://u:hunter2?x@localhost/d", /^expected postgres:/],
  ["postgres://u@db.example/d?host=/run", /^expected postgres:/],
  [
    "postgres://u@localhost/d?hunter2",
    /^expected of the parameters sslmode, sslrootcert, sslcert, sslkey, host, each once$/,
  ],
  ["postgres://u@localhost/d?hunter2=1", /^expected of the parameters/],
  ["postgres://u@localhost/d?sslmode=disable&sslmode=disable", /^expected of the parameters/],
  ["postgres://u@localhost/d?sslmode", /^expected of the parameters/],
  ["postgres://u@localhost/d?sslmode=", /^expected a value of sslmode/],
  ["postgres://u@localhost/d?sslmode=%ff", /^expected a value of sslmode/],
  ["postgres://u@localhost/d?sslrootcert=ca.pem", /^expected an absolute path for sslrootcert/],
  ["postgres://u@localhost/d?host=run", /^expected an absolute path for host/],
  ["postgres://u@db.example/d?sslmode=require", /^expected sslmode=verify-full or sslmode=disable/],
  ["postgres://u@db.example/d?sslmode=verify-ca", /^expected sslmode=verify-full or sslmode=disable/],
  ["postgres://u@db.example/d?sslmode=prefer", /^expected sslmode=verify-full or sslmode=disable/],
  ["postgres://u@db.example/d?sslmode=no-verify", /^expected sslmode=verify-full or sslmode=disable/],
  ["postgres://u@db.example/d?sslmode=disable&sslrootcert=/ca", /^sslmode=disable leaves nothing/],
  ["postgres://u@db.example/d?sslcert=/c", /^sslcert and sslkey go together/],
  ["postgres://u@db.example/d?sslkey=/c", /^sslcert and sslkey go together/],
  ["postgres://u@/d?host=/run&sslmode=verify-full", /^a Unix socket has no TLS/],
  ["postgres://u@/d?host=/run&sslrootcert=/ca", /^a Unix socket has no TLS/],
])("refused without a word of it: %s", (text, problem) => {
  const parsed = parsePostgresUrl(text);
  const said = "problem" in parsed ? parsed.problem : "";
  expect(said).toMatch(problem);
  expect(said).not.toContain("hunter2");
});

test.each([
  ["postgres://u@h/d", true],
  ["postgresql:x", true],
  ["postgres.db", false],
  ["data/postgres:x", false],
])("%s is meant for PostgreSQL: %s", (text, meant) => {
  expect(isPostgresUrl(text)).toBe(meant);
});
