// A listener on a Unix socket: made for whom its mode names, in place of one that nobody listens on any more. What is not a socket
// is never removed.

import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { connect, type Server } from "node:net";

export type UnixSocket = { readonly path: string; readonly mode: number };

/**
 * Removes a socket that nobody listens on any more. Once, before any process binds: what a worker has bound looks the same to
 * another until it is listened on.
 */
export async function removeDeserted(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true && (await isDeserted(path)))
    unlinkSync(path);
}

export async function bindUnix(server: Server, { path, mode }: UnixSocket): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, backlog: 1024 }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  chmodSync(path, mode);
}

/** Left by a process that was killed; where somebody listens, binding fails and says so. */
function isDeserted(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (deserted: boolean): void => {
      socket.destroy();
      resolve(deserted);
    };
    socket.once("connect", () => settle(false));
    socket.once("error", (error: NodeJS.ErrnoException) => settle(error.code === "ECONNREFUSED"));
  });
}
