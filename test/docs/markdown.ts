// Reads what documentation holds that can be run: fenced blocks, and the commands in them with the output they show.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../..");

export type Block = {
  readonly file: string;
  /** Of its first line. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
};

export type Command = { readonly command: string; readonly output: readonly string[] };

/** `file` is relative to the repository. */
export function blocksOf(file: string): Block[] {
  const blocks: Block[] = [];
  let open: { line: number; language: string; lines: string[] } | undefined;
  for (const [index, line] of readText(file).split("\n").entries()) {
    if (!line.startsWith("```")) open?.lines.push(line);
    else if (open === undefined) open = { line: index + 2, language: line.slice(3).trim(), lines: [] };
    else {
      blocks.push({ file, line: open.line, language: open.language, text: open.lines.join("\n") });
      open = undefined;
    }
  }
  return blocks;
}

/** `$ command`, and the lines that it prints. */
export function commandsOf({ text }: Block): Command[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = "", ...output] = part.trimEnd().split("\n");
      return { command, output };
    });
}

/** What people read, relative to the repository. */
export function documents(): string[] {
  const here = (folder: string): string[] =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => join(folder, name));
  return [...here("."), ...here("docs"), ...here("docs/decisions")];
}

export function readText(file: string): string {
  return readFileSync(join(ROOT, file), "utf8");
}
