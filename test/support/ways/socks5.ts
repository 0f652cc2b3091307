// A way into the proxy by SOCKS5: what a client writes, octet by octet, and a tunnel opened by it.

import { isIPv4 } from "node:net";
import type { Wire } from "../../proxy/wire.ts";

export const NO_CREDENTIALS = Buffer.from([5, 1, 0]);
export const USER_PASSWORD = Buffer.from([5, 1, 2]);

export function userPassword(user: string, password: string): Buffer {
  const text = (value: string): Buffer =>
    Buffer.concat([Buffer.from([Buffer.byteLength(value, "latin1")]), Buffer.from(value, "latin1")]);
  return Buffer.concat([Buffer.from([1]), text(user), text(password)]);
}

/** A name, or an address as such: dotted, or in brackets. */
export function socks5Request(host: string, port: number, command = 1): Buffer {
  return Buffer.concat([
    Buffer.from([5, command, 0]),
    hostOctets(host),
    Buffer.from([port >> 8, port & 0xff]),
  ]);
}

function hostOctets(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from([1, ...host.split(".").map(Number)]);
  if (!host.startsWith("["))
    return Buffer.concat([Buffer.from([3, host.length]), Buffer.from(host, "latin1")]);
  const [head = "", tail = ""] = host.slice(1, -1).replace(DOTTED_TAIL, inHex).split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const zeros = Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => "0");
  const all = [...groups(head), ...zeros, ...groups(tail)].map((group) => Number.parseInt(group, 16));
  return Buffer.from([4, ...all.flatMap((group) => [group >> 8, group & 0xff])]);
}

const DOTTED_TAIL = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/;
function inHex(...[, a, b, c, d]: unknown[]): string {
  const group = (high: unknown, low: unknown): string => (Number(high) * 256 + Number(low)).toString(16);
  return `${group(a, b)}:${group(c, d)}`;
}

export type Socks5Options = {
  readonly host: string;
  readonly port: number;
  /** `user:password`. */
  readonly credentials?: string;
};

/** The reply's code, 0 where the tunnel is open; `undefined` where the credentials were refused. */
export async function socks5(
  wire: Wire,
  { host, port, credentials }: Socks5Options,
): Promise<number | undefined> {
  if (credentials === undefined) {
    wire.write(NO_CREDENTIALS);
    if ((await octets(wire, 2))[1] !== 0) return undefined;
  } else {
    wire.write(USER_PASSWORD);
    if ((await octets(wire, 2))[1] !== 2) return undefined;
    const [user = "", password = ""] = credentials.split(/:(.*)/);
    wire.write(userPassword(user, password));
    if ((await octets(wire, 2))[1] !== 0) return undefined;
  }
  wire.write(socks5Request(host, port));
  return (await octets(wire, 10))[1];
}

/** The next octets, taken. */
export async function octets(wire: Wire, count: number): Promise<Buffer> {
  await wire.until(() => wire.held.length >= count);
  const taken = Buffer.from(wire.held.slice(0, count), "latin1");
  wire.held = wire.held.slice(count);
  return taken;
}
