// ClientHello bytes for tests: built from parts, or as real clients sent them.

import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { connect, type ConnectionOptions } from "node:tls";

import { readClientHello } from "../../src/net/client-hello.ts";

export type Extension = [type: number, body: number[]];

const u16 = (value: number): number[] => [value >> 8, value & 0xff];
export const vector8 = (bytes: number[]): number[] => [bytes.length, ...bytes];
export const vector16 = (bytes: number[]): number[] => [...u16(bytes.length), ...bytes];
export const ascii = (text: string): number[] => [...Buffer.from(text, "latin1")];

export const sni = (...names: string[]): Extension => [
  0,
  vector16(names.flatMap((name) => [0, ...vector16(ascii(name))])),
];
export const alpn = (...names: string[]): Extension => [
  16,
  vector16(names.flatMap((name) => vector8(ascii(name)))),
];
export const versions = (...list: number[]): Extension => [43, vector8(list.flatMap(u16))];

export type Parts = {
  legacy?: number;
  session?: number[];
  suites?: number[];
  compressions?: number[];
  extensions?: Extension[] | undefined;
  trailing?: number[];
};

/** A handshake message, with its header. */
export function message({
  legacy = 0x0303,
  session = [],
  suites = [0x13, 0x01],
  compressions = [0],
  extensions = [],
  trailing = [],
}: Parts = {}): number[] {
  const listed = extensions.flatMap(([type, body]) => [...u16(type), ...vector16(body)]);
  return handshake([
    ...u16(legacy),
    ...Array.from({ length: 32 }, (_, at) => at),
    ...vector8(session),
    ...vector16(suites),
    ...vector8(compressions),
    ...vector16(listed),
    ...trailing,
  ]);
}

export const handshake = (body: number[], type = 1): number[] => [
  type,
  body.length >> 16,
  ...u16(body.length & 0xffff),
  ...body,
];

export const record = (fragment: number[], type = 22, version = 0x0301): number[] => [
  type,
  ...u16(version),
  ...vector16(fragment),
];

/** The message in records that hold so many octets each, the last size over and over. */
export function records(whole: number[], ...sizes: number[]): Uint8Array {
  const out: number[] = [];
  for (let at = 0, i = 0; at < whole.length; i++) {
    const size = sizes[Math.min(i, sizes.length - 1)] ?? 16_384;
    out.push(...record(whole.slice(at, at + size)));
    at += size;
  }
  return Uint8Array.from(out);
}

/** What Node's TLS client sends with these options. */
export async function capture(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect({ host: "127.0.0.1", port: (server.address() as AddressInfo).port, ...options });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  socket.on("error", () => {});
  const chunks: Buffer[] = [];
  while (readClientHello(Buffer.concat(chunks)).state === "incomplete") {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    chunks.push(chunk);
  }
  client.destroy();
  socket.destroy();
  server.close();
  return Buffer.concat(chunks);
}

/** OpenSSL 3.0, `s_client -tls1_2 -servername Origin.EXAMPLE`. */
export const OPENSSL = Buffer.from(
  `
    FgMBAM4BAADKAwPuqfQ/5NFHI5duwnaSZvB00FN8vF1G5RfzD04mFu7STgAAOMAswDAAn8ypzKjMqsArwC8AnsAkwCgAa8AjwCcAZ8AK
    wBQAOcAJwBMAMwCdAJwAPQA8ADUALwD/AQAAaQAAABMAEQAADk9yaWdpbi5FWEFNUExFAAsABAMAAQIACgAMAAoAHQAXAB4AGQAYACMA
    AAAWAAAAFwAAAA0AKgAoBAMFAwYDCAcICAgJCAoICwgECAUIBgQBBQEGAQMDAwEDAgQCBQIGAg==
  `,
  "base64",
);
/** git over GnuTLS, to localhost. */
export const GIT = Buffer.from(
  `
    FgMBAYkBAAGFAwOSSjppN8ZEuseJfE+gPWrPvvx+D7uSEwWsQ5l832Y2mCDsiH910iJ/uw0wB0dJrc8O+S/f38t5rqmk6X4Yyn/x8wA6
    EwITAxMBEwTALMypwK3ACsArwKzACcAwzKjAFMAvwBMAncCdADUAnMCcAC8An8yqwJ8AOQCewJ4AMwEAAQIABQAFAQAAAAAACgAWABQA
    FwAYABkAHQAeAQABAQECAQMBBAALAAIBAAANACIAIAQBCAkIBAQDCAcFAQgKCAUFAwgIBgEICwgGBgMCAQIDABAADgAMAmgyCGh0dHAv
    MS4xABYAAAAXAAAAMwBrAGkAFwBBBI3k4TMcXngcyHLTBhVxJMe3B5noR1muN7OqqybG0AS+YZwKvGl9kUIfzX/8mz+WsSgWW57QQnTf
    Tc175JUc3PYAHQAgQkYiOuNrwW37RPWmA2DLFx3PSrEaoC5rcN8k8jCtFT4AKwAJCAMEAwMDAgMB/wEAAQAAAAAOAAwAAAlsb2NhbGhv
    c3QAHAACQAE=
  `,
  "base64",
);
