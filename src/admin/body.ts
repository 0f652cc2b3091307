// Reads what a request says: a small JSON body, a query without repetition, each held to its schema.

import type { IncomingMessage } from "node:http";
import * as z from "zod";
import { Problem } from "./problem.ts";

/** `undefined`: there is none. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const { "content-type": type, "content-length": length, "transfer-encoding": coding } = request.headers;
  if (coding === undefined && (length === undefined || length === "0")) return undefined;
  // Also what keeps other sites' forms away.
  if (!/^application\/json *(?:;|$)/i.test(type ?? ""))
    throw new Problem("not-json", "send `Content-Type: application/json`");
  if (Number(length) > MAX_BODY) throw tooLarge();
  const pieces: Buffer[] = [];
  let octets = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    octets += piece.length;
    if (octets > MAX_BODY) throw tooLarge();
    pieces.push(piece);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces)));
  } catch {
    throw new Problem("invalid", "the body is not JSON in UTF-8");
  }
}

/** A key that may be repeated comes as a list. */
export function readQuery(url: string): Record<string, string | string[]> {
  const at = url.indexOf("?");
  const query: Record<string, string | string[]> = {};
  if (at === -1) return query;
  for (const [name, value] of new URLSearchParams(url.slice(at + 1))) {
    const before = Object.hasOwn(query, name) ? query[name] : undefined;
    query[name] = before === undefined ? value : [before, value].flat();
  }
  return query;
}

export function parsed<T>(schema: z.ZodType<T> | undefined, value: unknown, what: string): T {
  const result = (schema ?? NOTHING).safeParse(value);
  if (result.success) return result.data as T;
  const flaws = result.error.issues
    .slice(0, MAX_FLAWS)
    .map(({ path, message }) => ({ path: path.join("."), message }));
  const first = flaws.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; ");
  throw new Problem("invalid", `${what}: ${first}`, { flaws });
}

function tooLarge(): Problem {
  return new Problem("too-large", `a body has at most ${MAX_BODY} octets`);
}

const NOTHING = z.union([z.undefined(), z.strictObject({})], "none is expected here");
const MAX_BODY = 65_536;
const MAX_FLAWS = 20;
