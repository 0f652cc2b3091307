import { randomBytes } from "node:crypto";
import { chmod, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readTicketKeys } from "../../src/tls/ticket-keys.ts";
import { temporaryDirectory } from "./support.ts";

const random = randomBytes(48);

async function file(content: string | Buffer, mode = 0o600): Promise<string> {
  const path = join(await temporaryDirectory(), "tickets.key");
  await writeFile(path, content, { mode });
  await chmod(path, mode);
  return path;
}

test.each([0o600, 0o400])("mode %o: they are read", async (mode) => {
  expect(readTicketKeys(await file(random, mode))).toEqual(random);
});

test("through a link, as Kubernetes mounts a Secret", async () => {
  const path = await file(random);
  await symlink(path, `${path}.link`);
  expect(readTicketKeys(`${path}.link`)).toEqual(random);
});

test.each([
  ["readable by its group", random, 0o640, /can be read by others .*chmod 600/],
  ["readable by everybody", random, 0o604, /can be read by others/],
  ["one octet short", random.subarray(1), 0o600, /holds 47 octets, not 48: openssl rand -out .* 48$/],
  ["one octet long", Buffer.concat([random, Buffer.alloc(1)]), 0o600, /holds 49 octets/],
  ["empty", "", 0o600, /holds 0 octets/],
  ["digits in hexadecimal", random.toString("hex").slice(0, 48), 0o600, /holds text, not 48 random octets/],
])("%s: they are refused, and nothing of them is told", async (_, content, mode, said) => {
  const path = await file(content, mode);
  expect(() => readTicketKeys(path)).toThrow(said);
  expect(() => readTicketKeys(path)).not.toThrow(content.toString("latin1").slice(0, 8) || "\0");
});

test("they must be there", () => {
  expect(() => readTicketKeys("/nowhere/tickets.key")).toThrow(/ENOENT/);
});
