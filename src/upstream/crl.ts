// Certificate revocation lists that the operator gives: which serial numbers an issuer has taken back, and until when
// the list may be believed. A list speaks only for its own issuer; its file is trusted as the trust files are.

/** Issuer names are compared as their DER bytes, in base64. */
export type Crl = {
  readonly issuer: string;
  /** Milliseconds since the epoch; `undefined` where the list names no end. */
  readonly nextUpdate: number | undefined;
  /** Upper-case hex without leading zeros. */
  readonly serials: ReadonlySet<string>;
};

/** Reads the lists of a PEM or DER file; throws where one cannot be read in full. */
export function parseCrls(content: Buffer): Crl[] {
  if (content[0] === SEQUENCE) return [parseCrl(content)];
  const blocks = content.toString("latin1").match(PEM_CRL) ?? [];
  if (blocks.length === 0) throw new Error("holds no revocation list");
  return blocks.map((block) => parseCrl(Buffer.from(block.replace(/-----[^-]+-----/g, ""), "base64")));
}

/** Issuer and serial number of a certificate (DER), in the spelling that `Crl` has. */
export function issuerAndSerial(certificate: Buffer): { issuer: string; serial: string } {
  const fields = children(certificate, first(children(certificate, element(certificate, 0))));
  const [serial, , issuer] = fields[0]?.tag === VERSION ? fields.slice(1) : fields;
  if (serial?.tag !== INTEGER || issuer?.tag !== SEQUENCE) throw new Error("malformed certificate");
  return { issuer: nameOf(certificate, issuer), serial: serialOf(certificate, serial) };
}

function parseCrl(der: Buffer): Crl {
  const fields = children(der, first(children(der, element(der, 0))));
  if (fields[0]?.tag === INTEGER) fields.shift();
  const [, issuer, thisUpdate, ...rest] = fields;
  if (issuer?.tag !== SEQUENCE || thisUpdate === undefined) throw new Error("malformed revocation list");
  const next = rest[0] !== undefined && isTime(rest[0]) ? rest.shift() : undefined;
  const entries = rest[0]?.tag === SEQUENCE ? children(der, rest[0]) : [];
  const extensions = rest.find((field) => field.tag === EXTENSIONS);
  if (extensions !== undefined) refuseUnknownCritical(der, extensions);
  return {
    issuer: nameOf(der, issuer),
    nextUpdate: next === undefined ? undefined : timeOf(der, next),
    serials: new Set(entries.map((entry) => serialOf(der, first(children(der, entry))))),
  };
}

/** A delta list (2.5.29.27) read as a whole one would be missing most of its entries. */
function refuseUnknownCritical(der: Buffer, extensions: Element): void {
  for (const extension of children(der, first(children(der, extensions)))) {
    const [id, critical] = children(der, extension);
    if (critical?.tag !== BOOLEAN || id === undefined) continue;
    if (body(der, id).toString("hex") !== ISSUING_DISTRIBUTION_POINT)
      throw new Error("has a critical extension that is not understood (a delta list?)");
  }
}

type Element = { tag: number; start: number; contentStart: number; end: number };

function element(der: Buffer, start: number): Element {
  const tag = der[start];
  let length = der[start + 1];
  let contentStart = start + 2;
  if (tag === undefined || length === undefined) throw new Error("truncated DER");
  if (length >= 0x80) {
    const octets = length & 0x7f;
    if (octets === 0 || octets > 4 || contentStart + octets > der.length) throw new Error("malformed DER");
    length = der.readUIntBE(contentStart, octets);
    contentStart += octets;
  }
  const end = contentStart + length;
  if (end > der.length) throw new Error("truncated DER");
  return { tag, start, contentStart, end };
}

function children(der: Buffer, parent: Element): Element[] {
  const list: Element[] = [];
  for (let at = parent.contentStart; at < parent.end;) {
    const child = element(der, at);
    list.push(child);
    at = child.end;
  }
  return list;
}

function first(list: readonly Element[]): Element {
  const [head] = list;
  if (head === undefined) throw new Error("malformed DER");
  return head;
}

const body = (der: Buffer, { contentStart, end }: Element): Buffer => der.subarray(contentStart, end);
const nameOf = (der: Buffer, { start, end }: Element): string => der.subarray(start, end).toString("base64");
const serialOf = (der: Buffer, serial: Element): string =>
  body(der, serial).toString("hex").toUpperCase().replace(/^0+/, "");

const isTime = ({ tag }: Element): boolean => tag === UTC_TIME || tag === GENERALIZED_TIME;

function timeOf(der: Buffer, time: Element): number {
  const text = body(der, time).toString("latin1");
  const short = Number(text.slice(0, 2)) < 50 ? `20${text}` : `19${text}`;
  const at = Date.parse(
    (time.tag === UTC_TIME ? short : text).replace(
      /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/,
      "$1-$2-$3T$4:$5:$6Z",
    ),
  );
  if (Number.isNaN(at)) throw new Error("malformed time");
  return at;
}

const PEM_CRL = /-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g;
const BOOLEAN = 0x01;
const INTEGER = 0x02;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;
const SEQUENCE = 0x30;
const VERSION = 0xa0;
const EXTENSIONS = 0xa0;
/** 2.5.29.28: the list covers a part of the issuer's certificates. What it names is revoked all the same. */
const ISSUING_DISTRIBUTION_POINT = "551d1c";
