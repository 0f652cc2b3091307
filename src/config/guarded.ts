// Whether a file can be changed by nobody but the administrator: by its owner and mode, by those of every directory that leads to
// it, and through every link on the way. It only looks; whoever reads the file does so afterwards.

import { constants } from "node:fs";
import { access, lstat, readlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorCode, explain } from "./read.ts";

/** What is wrong, and what would mend it; `undefined`: nobody but root and `owner` can change it. */
export async function exposed(path: string, owner: number): Promise<string | undefined> {
  const seen = new Set<string>();
  const ahead = [resolve(path)];
  for (let at = ahead.pop(); at !== undefined; at = ahead.pop()) {
    if (seen.has(at)) continue;
    seen.add(at);
    try {
      const found = await lstat(at);
      if (found.uid !== 0 && found.uid !== owner) return `${at} is not root's: run chown root ${at}`;
      if (found.isSymbolicLink()) ahead.push(resolve(dirname(at), await readlink(at)));
      else if (await isOpen(at, found)) return `${at} can be written by others: run chmod go-w ${at}`;
    } catch (fault) {
      return `the file cannot be read: ${explain(errorCode(fault))}`;
    }
    ahead.push(dirname(at));
  }
  return undefined;
}

/** In a sticky directory nobody takes what is another's; on a file system that is read-only nobody changes a directory. */
async function isOpen(
  path: string,
  found: { readonly mode: number; isDirectory(): boolean },
): Promise<boolean> {
  if ((found.mode & 0o022) === 0) return false;
  if (!found.isDirectory()) return true;
  if ((found.mode & STICKY) !== 0) return false;
  return access(path, constants.W_OK).then(
    () => true,
    (fault: unknown) => errorCode(fault) !== "EROFS",
  );
}

const STICKY = 0o1000;
