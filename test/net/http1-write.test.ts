import { describe, expect, test } from "vitest";
import { MessageOutput } from "../../src/net/http1-write.ts";

/** As much of a socket as is written to; what leaves together stands together. */
class Recorder {
  readonly writes: Buffer[] = [];
  #corked: Buffer[] | undefined;
  write(data: string | Buffer, encoding?: "latin1"): boolean {
    const octets = typeof data === "string" ? Buffer.from(data, encoding) : Buffer.from(data);
    if (this.#corked === undefined) this.writes.push(octets);
    else this.#corked.push(octets);
    return this.writes.length < 3;
  }
  cork(): void {
    this.#corked = [];
  }
  uncork(): void {
    this.writes.push(Buffer.concat(this.#corked ?? []));
    this.#corked = undefined;
  }
}

/** Latin1 on purpose: what a head was received with leaves as it came. */
const HEAD = "HTTP/1.1 200 OK\r\nX: caf\xe9\r\n\r\n";
const octets = (length: number): Buffer => Buffer.alloc(length, Buffer.from([0, 255, 13, 10, 97]));

describe("one write", () => {
  test("of text", () => {
    const to = new Recorder();
    const out = new MessageOutput(to, false);
    out.text(HEAD);
    out.flush();
    out.flush();
    expect(to.writes).toEqual([Buffer.from(HEAD, "latin1")]);
  });

  test.each([1, 1024, 16 * 1024, 16 * 1024 + 1, 200_000])("of text and %i octets behind it", (length) => {
    const to = new Recorder();
    const out = new MessageOutput(to, false);
    out.text(HEAD);
    expect(out.octets(octets(length))).toBe(true);
    out.flush();
    expect(to.writes).toEqual([Buffer.concat([Buffer.from(HEAD, "latin1"), octets(length)])]);
  });

  test.each([1, 15, 16, 1024, 16 * 1024, 16 * 1024 + 1, 200_000])("of a chunk of %i octets", (length) => {
    for (const before of ["", HEAD]) {
      const to = new Recorder();
      const out = new MessageOutput(to, true);
      out.text(before);
      out.octets(octets(length));
      out.flush();
      const framed = [before, length.toString(16), "\r\n"].join("");
      const whole = Buffer.concat([Buffer.from(framed, "latin1"), octets(length), Buffer.from("\r\n")]);
      expect(to.writes).toEqual([whole]);
    }
  });
});
