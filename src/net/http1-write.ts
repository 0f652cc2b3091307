// How HTTP/1 messages are put on a connection: with as few writes as can be, since each is a TLS record and a system call.

/** As much of a socket as it takes. */
type Connection = {
  write(octets: Buffer): boolean;
  write(text: string, encoding: "latin1"): boolean;
  cork(): void;
  uncork(): void;
};

/** One message on its way out: text waits for the octets right behind it, until it is flushed. */
export class MessageOutput {
  readonly #connection: Connection;
  readonly #chunked: boolean;
  #waiting = "";

  /** `chunked`: octets are framed (RFC 9112 §7.1). */
  constructor(connection: Connection, chunked: boolean) {
    this.#connection = connection;
    this.#chunked = chunked;
  }

  text(text: string): void {
    this.#waiting += text;
  }

  /** False where the connection has enough for now. */
  octets(octets: Buffer): boolean {
    const before = this.#take();
    if (!this.#chunked) return this.#write(before, octets, NOTHING);
    return this.#write(`${before}${octets.length.toString(16)}\r\n`, octets, CRLF);
  }

  flush(): void {
    // As octets: a string goes through TLS twice.
    if (this.#waiting !== "") this.#connection.write(Buffer.from(this.#take(), "latin1"));
  }

  #take(): string {
    const waiting = this.#waiting;
    this.#waiting = "";
    return waiting;
  }

  #write(before: string, octets: Buffer, behind: Buffer): boolean {
    const connection = this.#connection;
    if (before === "") return connection.write(octets);
    if (octets.length <= JOINED_MAX) return connection.write(joined(before, octets, behind));
    connection.cork();
    connection.write(before, "latin1");
    let room = connection.write(octets);
    if (behind.length > 0) room = connection.write(behind);
    connection.uncork();
    return room;
  }
}

function joined(text: string, octets: Buffer, behind: Buffer): Buffer {
  const whole = Buffer.allocUnsafe(text.length + octets.length + behind.length);
  whole.write(text, 0, "latin1");
  whole.set(octets, text.length);
  whole.set(behind, text.length + octets.length);
  return whole;
}

/** Octets that it is cheaper to copy than to write as a piece of their own: a TLS record's. */
const JOINED_MAX = 16 * 1024;
const NOTHING = Buffer.alloc(0);
const CRLF = Buffer.from("\r\n");
