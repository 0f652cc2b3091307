// Tells when the operator's files may have changed. Watches directories, not files: editors rename a new file over the
// old one, and Kubernetes swaps a link beside the files, so a watch on the file itself would look at what is gone.

import { watch, type FSWatcher } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";

export type WatchOptions = {
  /** Absolute paths, there or not; a directory stands for what is in it. */
  readonly files: readonly string[];
  readonly onChange: () => void;
  /** A directory cannot be watched any more; a reload by signal still works. */
  readonly onFault?: (directory: string, cause: unknown) => void;
  /** Quiet time after the last event before `onChange`. */
  readonly settleMs?: number;
  /** However much goes on, `onChange` comes this long after the first event. */
  readonly mostMs?: number;
};

export type Watch = {
  /** Watch these from now on; resolves once they are watched. */
  update(files: readonly string[]): Promise<void>;
  close(): void;
};

export async function watchConfig(options: WatchOptions): Promise<Watch> {
  const watched = new Map<string, Watched>();
  const signal = debounce(options);
  let closed = false;

  const forget = (directory: string): void => {
    watched.get(directory)?.watcher.close();
    watched.delete(directory);
  };
  const open = (directory: string, { identity, names }: Wanted): void => {
    try {
      const watcher = watch(directory, { persistent: false }, (_event, name) => {
        const wanted = watched.get(directory)?.names ?? names;
        if (name === null || wanted === EVERY || wanted.has(name) || name === SWAPPED) signal.raise();
      });
      watcher.on("error", (cause) => {
        forget(directory);
        options.onFault?.(directory, cause);
      });
      watched.set(directory, { identity, names, watcher });
    } catch (cause) {
      options.onFault?.(directory, cause);
    }
  };
  const update = async (files: readonly string[]): Promise<void> => {
    const wanted = await directories(files);
    if (closed) return;
    for (const [directory, { identity }] of watched) {
      if (wanted.get(directory)?.identity !== identity) forget(directory);
    }
    for (const [directory, want] of wanted) {
      const known = watched.get(directory);
      // Kept, not opened anew: what happens between would be missed.
      if (known === undefined) open(directory, want);
      else known.names = want.names;
    }
  };

  await update(options.files);
  return {
    update,
    close: () => {
      closed = true;
      signal.cancel();
      for (const directory of watched.keys()) forget(directory);
    },
  };
}

type Names = ReadonlySet<string> | typeof EVERY;
type Wanted = { readonly identity: string; names: Names };
type Watched = Wanted & { readonly watcher: FSWatcher };

/** Directories to watch, each with the names that matter in it. */
async function directories(files: readonly string[]): Promise<ReadonlyMap<string, Wanted>> {
  const found = new Map<string, Wanted>();
  const add = async (directory: string, name: string | undefined): Promise<void> => {
    const identity = await identify(directory);
    if (identity === undefined) return;
    const names = found.get(directory)?.names ?? new Set<string>();
    found.set(directory, {
      identity,
      names: name === undefined || names === EVERY ? EVERY : new Set([...names, name]),
    });
  };
  for (const file of files) {
    await add(file, undefined);
    await add(dirname(file), basename(file));
    // A link's target changes in the target's directory.
    const real = await realpath(file).catch(() => file);
    if (real !== file) await add(dirname(real), basename(real));
  }
  return found;
}

/** Device and inode of a directory; a directory that took another's place is another. */
async function identify(path: string): Promise<string | undefined> {
  return stat(path).then(
    (found) => (found.isDirectory() ? `${found.dev}:${found.ino}` : undefined),
    () => undefined,
  );
}

function debounce({ onChange, settleMs = SETTLE_MS, mostMs = MOST_MS }: WatchOptions) {
  let timer: NodeJS.Timeout | undefined;
  let first = 0;
  return {
    raise: (): void => {
      const now = performance.now();
      if (timer === undefined) first = now;
      clearTimeout(timer);
      const wait = Math.max(0, Math.min(settleMs, first + mostMs - now));
      timer = setTimeout(() => {
        timer = undefined;
        onChange();
      }, wait);
    },
    cancel: (): void => clearTimeout(timer),
  };
}

const EVERY = "every";
/** The link that Kubernetes swaps in a ConfigMap's volume; the files beside it never change themselves. */
const SWAPPED = "..data";
const SETTLE_MS = 100;
const MOST_MS = 1_000;
