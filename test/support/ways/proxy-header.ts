// The PROXY header that a balancer puts before a connection.

export function textHeader(source: string, port = 5_000): string {
  const family = source.includes(":") ? "TCP6" : "TCP4";
  return `PROXY ${family} ${source} ${family === "TCP4" ? "192.0.2.9" : "2001:db8::9"} ${port} 3128\r\n`;
}

export type BinaryOptions = {
  /** 0: LOCAL, 1: PROXY. */
  readonly command?: number;
  readonly family?: number;
  /** Addresses and ports. */
  readonly block?: Buffer;
  readonly tlvs?: Buffer;
};

/** Version 2; of 198.51.100.7:5000 unless `block` says another. */
export function binaryHeader({ command = 1, family = 0x11, block = V4, tlvs }: BinaryOptions = {}): Buffer {
  const rest = Buffer.concat([block, tlvs ?? Buffer.alloc(0)]);
  const length = Buffer.from([rest.length >> 8, rest.length & 0xff]);
  return Buffer.concat([SIGNATURE, Buffer.from([0x20 | command, family]), length, rest]);
}

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V4 = Buffer.from([198, 51, 100, 7, 192, 0, 2, 9, 0x13, 0x88, 0x0c, 0x38]);
