// A listener whose connections lead on to another place: a Unix socket to the proxy's port outside of the wall, a loopback port to
// that socket inside.

import { connect, createServer, type ListenOptions, type NetConnectOpts, type Socket } from "node:net";

export type Bridge = { close(): Promise<void> };

export function openBridge(at: ListenOptions, to: NetConnectOpts): Promise<Bridge> {
  const open = new Set<Socket>();
  const pass = (from: Socket, into: Socket): void => {
    open.add(from);
    from.on("error", () => into.destroy());
    from.on("close", () => {
      open.delete(from);
      into.destroySoon();
    });
    from.pipe(into);
  };
  const server = createServer({ allowHalfOpen: true }, (from) => {
    const into = connect({ ...to, allowHalfOpen: true });
    pass(from, into);
    pass(into, from);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at, () =>
      resolve({
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            for (const socket of open) socket.destroy();
          }),
      }),
    );
  });
}
