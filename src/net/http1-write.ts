// How HTTP/1 messages are put on a connection: with as few writes as can be, since each is a TLS record and a system call.

/** As much of a socket as it takes. */
type Connection = {
  write(octets: Buffer): boolean;
  write(text: string, encoding: "latin1"): boolean;
  cork(): void;
  uncork(): void;
};

/** Text alone. As octets: a string goes through TLS twice. */
export function writeText(connection: Connection, text: string): boolean {
  return connection.write(Buffer.from(text, "latin1"));
}

/** Text, and the octets right behind it. */
export function writeBehind(connection: Connection, text: string, octets: Buffer): boolean {
  if (octets.length <= JOINED_MAX) return connection.write(joined(text, octets, 0));
  connection.cork();
  connection.write(text, "latin1");
  const room = connection.write(octets);
  connection.uncork();
  return room;
}

/** One chunk (RFC 9112 §7.1), behind `text`. */
export function writeChunk(connection: Connection, text: string, octets: Buffer): boolean {
  const before = `${text}${octets.length.toString(16)}\r\n`;
  if (octets.length <= JOINED_MAX) {
    const whole = joined(before, octets, 2);
    whole[whole.length - 2] = 0x0d;
    whole[whole.length - 1] = 0x0a;
    return connection.write(whole);
  }
  connection.cork();
  connection.write(before, "latin1");
  connection.write(octets);
  const room = connection.write(CRLF);
  connection.uncork();
  return room;
}

/** In one buffer, with so many octets of room behind. */
function joined(text: string, octets: Buffer, room: number): Buffer {
  const whole = Buffer.allocUnsafe(text.length + octets.length + room);
  whole.write(text, 0, "latin1");
  whole.set(octets, text.length);
  return whole;
}

/** Octets that it is cheaper to copy than to write as a piece of their own: a TLS record's. */
const JOINED_MAX = 16 * 1024;
const CRLF = Buffer.from("\r\n");
