// What a command could have done to the files that bind the next one: what they were when it began is kept where it cannot write,
// until it has ended and they are the same.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, sep } from "node:path";

export type TrustedFiles = {
  /** Whether they changed while an earlier command ran, and nobody has accepted it. */
  readonly changed: boolean;
  /** From now on what they are is known. */
  begin(): void;
  /** Whether they are as they were at the begin. */
  end(): boolean;
};

/** `files`: absolute, there or not, the operator's own first; a directory stands for the names in it. `state`: of the user, hidden from commands. */
export function trustedFiles(files: readonly string[], state: string): TrustedFiles {
  const directory = join(state, "trusted");
  const kept = join(directory, `${digest(files[0] ?? "")}.sha256`);
  const before = read(kept);
  const first = digestOf(files);
  return {
    changed: before !== undefined && before !== first,
    begin() {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      writeFileSync(kept, first, { mode: 0o600 });
    },
    end() {
      const same = digestOf(files) === first;
      // Of two at once, the last that saw a change has its word.
      if (same) rmSync(kept, { force: true });
      else writeFileSync(kept, first, { mode: 0o600 });
      return same;
    },
  };
}

function digestOf(files: readonly string[]): string {
  return digest(
    files
      .map((file) => {
        const found = statSync(file, { throwIfNoEntry: false });
        if (found === undefined) return `${file}\0absent`;
        if (found.isDirectory()) return `${file}${sep}\0${readdirSync(file).sort().join("\0")}`;
        return `${file}\0${digest(readFileSync(file))}`;
      })
      .join("\n"),
  );
}

function digest(octets: string | Buffer): string {
  return createHash("sha256").update(octets).digest("hex");
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
