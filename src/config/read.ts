// A file of the operator's as text, or why it cannot be: no exception leaves here, and no file is read without a bound.

import { constants } from "node:fs";
import { open } from "node:fs/promises";

export type FileText =
  | { readonly state: "read"; readonly text: string }
  | { readonly state: "unreadable"; readonly why: string };

export async function readText(path: string): Promise<FileText> {
  try {
    // A pipe is not waited for: whoever put one there could hold up every reload to come.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (stat.isDirectory()) return { state: "unreadable", why: explain("EISDIR") };
      if (!stat.isFile()) return { state: "unreadable", why: "it is not a regular file" };
      const { size } = stat;
      if (size > MAX_OCTETS)
        return { state: "unreadable", why: `it is larger than ${MAX_OCTETS / 1024 / 1024} MiB` };
      return { state: "read", text: new TextDecoder("utf-8", { fatal: true }).decode(await file.readFile()) };
    } finally {
      await file.close();
    }
  } catch (fault) {
    return { state: "unreadable", why: explain(errorCode(fault)) };
  }
}

export function errorCode(fault: unknown): string {
  return fault instanceof Error && "code" in fault ? String(fault.code) : "UNKNOWN";
}

export function explain(code: string): string {
  return WORDS[code] ?? code;
}

const WORDS: Record<string, string> = {
  ENOENT: "it is not there",
  EACCES: "permission denied",
  EISDIR: "it is a directory",
  ENOTDIR: "it is not a directory, or its path goes through a file",
  ELOOP: "its links go in a circle",
  ERR_ENCODING_INVALID_ENCODED_DATA: "it is not UTF-8",
};

const MAX_OCTETS = 16 * 1024 * 1024;
