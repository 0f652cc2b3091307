// Where log lines go. A reader that stalls, or is gone, costs lines, and never stops the proxy, its exit or its memory.

import { constants, fstatSync, openSync, type Stats } from "node:fs";
import { Socket } from "node:net";
import { isatty } from "node:tty";
import { destination } from "pino";

export type LogStream = {
  readonly isTTY: boolean;
  /** False where the line was given up. */
  write(line: string): boolean;
  /** Waits for what is queued, for at most a second. */
  close(): Promise<void>;
};

/** A stream to an open descriptor, such as 2. At most `maxOctets` wait in memory. */
export function openLogStream(fd: number, maxOctets = 1 << 20): LogStream {
  const isTTY = isatty(fd);
  const stats = fstatSync(fd);
  // Pipes are polled: a write in the thread pool that a stalled reader holds would also hold process.exit() (measured).
  if (stats.isFIFO() || stats.isSocket()) {
    const own = unblocked(fd, stats);
    return pipeStream(own, { maxOctets, shared: own === fd });
  }
  return { isTTY, ...fileStream(isTTY ? unblocked(fd, stats) : fd, maxOctets) };
}

/** `shared`: the descriptor is also process.stderr's, which may have something to say after the log. */
function pipeStream(fd: number, { maxOctets, shared }: { maxOctets: number; shared: boolean }): LogStream {
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.unref();
  socket.on("error", () => socket.destroy());
  return {
    isTTY: false,
    write(line) {
      if (socket.destroyed || socket.writableLength + line.length > maxOctets) return false;
      socket.write(line);
      return true;
    },
    close: () =>
      new Promise((resolve) => {
        if (socket.destroyed) return resolve();
        const overdue = setTimeout(() => (shared ? resolve() : socket.destroy()), CLOSE_MS);
        const closed = (): void => {
          clearTimeout(overdue);
          resolve();
        };
        socket.once("close", closed);
        socket.ref();
        if (!shared) socket.end(() => socket.destroy());
        else {
          socket.write("", () => {
            socket.unref();
            closed();
          });
        }
      }),
  };
}

function fileStream(fd: number, maxOctets: number): Omit<LogStream, "isTTY"> {
  const file = destination({ dest: fd, sync: false, maxLength: maxOctets });
  let dropped = false;
  let gone = false;
  file.on("drop", () => {
    dropped = true;
  });
  // A full disk may have room again: only a closed descriptor is final.
  file.on("error", () => {});
  file.on("close", () => {
    gone = true;
  });
  return {
    write(line) {
      if (gone) return false;
      dropped = false;
      file.write(line);
      return !dropped;
    },
    close: () =>
      new Promise((resolve) => {
        if (gone) return resolve();
        const overdue = setTimeout(() => file.destroy(), CLOSE_MS);
        file.once("close", () => {
          clearTimeout(overdue);
          resolve();
        });
        file.end();
      }),
  };
}

/**
 * The same pipe or terminal, opened anew: whether a descriptor blocks is a trait of its description, which others share (the shell,
 * and Node's own process.stderr, which makes it block). What cannot be opened so (a socket, another system) is used as it is.
 */
function unblocked(fd: number, stats: Stats): number {
  if (stats.isSocket()) return fd;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}

const CLOSE_MS = 1_000;
