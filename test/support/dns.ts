// A name server for tests, on UDP: answers from a table, or with an error code, or with silence, and keeps what it was asked.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIPv4 } from "node:net";

export type Zone = {
  readonly a?: readonly string[] | Failure;
  readonly aaaa?: readonly string[] | Failure;
  /** The name that this one is an alias of; its records are sent along. */
  readonly cname?: string;
  readonly ttl?: number;
};
export type Failure = "NXDOMAIN" | "SERVFAIL" | "REFUSED" | "silent";

export type NameServer = AsyncDisposable & {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** `A name`, `AAAA name`, in the order of arrival; repeated tries stand here too. */
  readonly asked: string[];
  /** May be changed at any time. A name that is not there gets NXDOMAIN. */
  readonly zones: Map<string, Zone | Failure>;
  /** Resolves when the question has arrived. */
  arrival(question: string): Promise<void>;
};

export async function createNameServer(zones: Readonly<Record<string, Zone | Failure>>): Promise<NameServer> {
  const table = new Map(Object.entries(zones));
  const asked: string[] = [];
  const arrivals = new EventTarget();
  const socket = createSocket("udp4");
  socket.on("message", (query, from) => {
    const { name, type, end } = readQuestion(query);
    const question = `${type === A ? "A" : "AAAA"} ${name}`;
    asked.push(question);
    arrivals.dispatchEvent(new Event(question));
    const reply = answer(query.subarray(0, end), collect(table, name, type));
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return {
    address: `127.0.0.1:${socket.address().port}`,
    asked,
    zones: table,
    arrival: async (question) => {
      if (!asked.includes(question)) await once(arrivals, question);
    },
    [Symbol.asyncDispose]: async () => {
      socket.close();
      await once(socket, "close");
    },
  };
}

type Found = { readonly rcode: number; readonly records: readonly Buffer[] } | "silent";

function collect(table: ReadonlyMap<string, Zone | Failure>, name: string, type: number): Found {
  const records: Buffer[] = [];
  let owner = name;
  for (;;) {
    const zone = table.get(owner) ?? "NXDOMAIN";
    if (zone === "silent") return zone;
    if (typeof zone === "string") return { rcode: RCODES[zone], records };
    const ttl = zone.ttl ?? 300;
    if (zone.cname !== undefined) {
      records.push(record(owner, CNAME, ttl, encodeName(zone.cname)));
      owner = zone.cname;
      continue;
    }
    const found = (type === A ? zone.a : zone.aaaa) ?? [];
    if (found === "silent") return found;
    if (typeof found === "string") return { rcode: RCODES[found], records };
    for (const address of found) records.push(record(owner, type, ttl, encodeAddress(address)));
    return { rcode: 0, records };
  }
}

function answer(query: Buffer, found: Found): Buffer | undefined {
  if (found === "silent") return undefined;
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180 | found.rcode, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(found.records.length, 6);
  return Buffer.concat([header, query.subarray(12), ...found.records]);
}

function readQuestion(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function record(owner: string, type: number, ttl: number, data: Buffer): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(type, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodeName(owner), fixed, data]);
}

function encodeName(name: string): Buffer {
  const labels = name.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

/** IPv6 in its full form or with one `::`. */
function encodeAddress(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number));
  const [head = "", tail] = text.split("::");
  const left = head.split(":").filter(Boolean);
  const right = (tail ?? "").split(":").filter(Boolean);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, "0")).join(""), "hex");
}

const A = 1;
const CNAME = 5;
const RCODES = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;
