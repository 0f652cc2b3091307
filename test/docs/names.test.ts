// What the documentation names is there: files, exports, tests by their titles, pages that it links to.

import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { documents, readText, ROOT } from "./markdown.ts";

describe.each(documents())("%s", (file) => {
  const text = readText(file);

  test("every link within the repository leads somewhere", () => {
    const links = [...text.matchAll(/\]\(([^)#:\s]+)(?:#([^)\s]+))?\)/g)];
    const broken = links.filter(([, path = "", anchor]) => {
      const target = join(dirname(file), path);
      if (!existsSync(join(ROOT, target))) return true;
      return anchor !== undefined && !headings(target).includes(anchor);
    });
    expect(broken.map(([link]) => link)).toEqual([]);
  });

  test("every file that it names exists", () => {
    const named = [...text.matchAll(/`((?:src|test|bench|scripts|docs|presets|bin)\/[\w./-]+\.\w+)`/g)];
    expect(named.map(([, path = ""]) => path).filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});

test("the pictures of a request's life name files of the data path", () => {
  const pictures = readText("docs/life-of-a-request.md")
    .split("```")
    .filter((_, index) => index % 2 === 1);
  const named = pictures.flatMap((picture) => picture.match(/[\w/-]+\.ts\b/g) ?? []);
  expect(named.length).toBeGreaterThan(20);
  expect(
    named.filter((name) => !["proxy", "."].some((at) => existsSync(join(ROOT, "src", at, name)))),
  ).toEqual([]);
});

test("the table of a request's life names what its files export", async () => {
  const rows = [...readText("docs/life-of-a-request.md").matchAll(/^\| `(src\/[\w/.-]+)` \| (.+?) \|/gm)];
  expect(rows.length).toBeGreaterThan(20);
  for (const [, path = "", names = ""] of rows) {
    const module = (await import(join(ROOT, path))) as Record<string, unknown>;
    for (const [, name = ""] of names.matchAll(/`(\w+)`/g))
      expect(module[name], `${path}: ${name}`).toBeDefined();
  }
});

test("the tests that docs/security.md names exist, by file and by title", () => {
  const named = [...readText("docs/security.md").matchAll(/`(test\/[\w./-]+\.ts)`(?: \*([^*]+)\*)?/g)];
  expect(named.length).toBeGreaterThan(20);
  const missing = named.filter(([, path = "", title]) => {
    if (!existsSync(join(ROOT, path))) return true;
    return title !== undefined && !readText(path).includes(title);
  });
  expect(missing.map(([match]) => match)).toEqual([]);
});

test.each(["docs", "docs/decisions"])("every page of %s stands in its index", (folder) => {
  const index = readText(`${folder}/README.md`);
  const pages = documents().filter((file) => dirname(file) === folder && !file.endsWith("/README.md"));
  expect(pages.filter((file) => !index.includes(`](${basename(file)})`))).toEqual([]);
});

/** As GitHub makes anchors of them. */
function headings(file: string): string[] {
  return [...readText(file).matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, "")
      .replaceAll(/\s/g, "-"),
  );
}
