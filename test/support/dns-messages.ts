// DNS messages from a sandbox's side: questions of every shape, and answers read as a resolver reads them.

export type QuestionOptions = {
  readonly id?: number;
  readonly flags?: number;
  readonly type?: number;
  readonly class?: number;
  readonly counts?: readonly [number, number, number, number];
  /** Size that is offered by EDNS, and its options. */
  readonly edns?: { readonly size?: number; readonly version?: number; readonly options?: Buffer };
  readonly trailing?: Buffer;
};

/** `name`: text, or the octets of its labels with their lengths. */
export function question(name: string | Buffer, options: QuestionOptions = {}): Buffer {
  const { id = 0x1234, flags = 0x0100, type = 1, class: of = 1, edns, trailing = Buffer.alloc(0) } = options;
  const counts = options.counts ?? [1, 0, 0, edns === undefined ? 0 : 1];
  return Buffer.concat([
    u16(id, flags, ...counts),
    typeof name === "string" ? labels(name) : name,
    u16(type, of),
    edns === undefined ? Buffer.alloc(0) : opt(edns),
    trailing,
  ]);
}

export function labels(name: string): Buffer {
  const parts = name === "" ? [] : name.split(".");
  const octets = parts.map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, "latin1"));
  return Buffer.concat([...octets, Buffer.from([0])]);
}

export function u16(...values: readonly number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
}

/** RFC 1035 §4.2.2. */
export function framed(message: Buffer): Buffer {
  return Buffer.concat([u16(message.length), message]);
}

export type Answer = {
  readonly id: number;
  readonly flags: number;
  readonly rcode: number;
  readonly question: Buffer;
  readonly addresses: readonly string[];
  readonly ttls: readonly number[];
  /** Code and text of the extended error. */
  readonly error: { readonly code: number; readonly text: string } | undefined;
};

/** Reads what a responder may say, and throws at anything else. */
export function readAnswer(message: Buffer): Answer {
  const [id = 0, flags = 0, questions = 0, answers = 0, authorities = 0, additional = 0] = Array.from(
    { length: 6 },
    (_, at) => message.readUInt16BE(at * 2),
  );
  if (questions > 1 || authorities !== 0 || additional > 1) throw new Error("odd counts");
  let at = 12;
  if (questions === 1) {
    while (message.readUInt8(at) !== 0) at += 1 + message.readUInt8(at);
    at += 5;
  }
  const asked = message.subarray(12, at);
  const addresses: string[] = [];
  const ttls: number[] = [];
  for (let i = 0; i < answers; i++) {
    if (message.readUInt16BE(at) !== 0xc00c) throw new Error("not the question's name");
    ttls.push(message.readUInt32BE(at + 6));
    const length = message.readUInt16BE(at + 10);
    const data = message.subarray(at + 12, at + 12 + length);
    addresses.push(length === 4 ? data.join(".") : data.toString("hex"));
    at += 12 + length;
  }
  let error: Answer["error"];
  if (additional === 1) {
    if (message.readUInt8(at) !== 0 || message.readUInt16BE(at + 1) !== 41) throw new Error("no OPT");
    const length = message.readUInt16BE(at + 9);
    const option = message.subarray(at + 11, at + 11 + length);
    if (length > 0) {
      if (option.readUInt16BE(0) !== 15 || option.readUInt16BE(2) !== length - 4)
        throw new Error("odd option");
      error = { code: option.readUInt16BE(4), text: option.toString("latin1", 6) };
    }
    at += 11 + length;
  }
  if (at !== message.length) throw new Error(`${message.length - at} octets behind the answer`);
  return { id, flags, rcode: flags & 0xf, question: asked, addresses, ttls, error };
}

function opt({
  size = 1232,
  version = 0,
  options = Buffer.alloc(0),
}: NonNullable<QuestionOptions["edns"]>): Buffer {
  return Buffer.concat([
    Buffer.from([0]),
    u16(41, size),
    Buffer.from([0, version]),
    u16(0, options.length),
    options,
  ]);
}
