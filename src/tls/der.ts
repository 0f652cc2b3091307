// DER, written through node-forge's ASN.1 writer and read back by slices. It knows no certificate fields and
// must never see a private key.

import forge from "node-forge";

const { asn1 } = forge;
const { Class, Type } = asn1;

export type Der = forge.asn1.Asn1;

export const sequence = (...items: Der[]): Der => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items);
export const set = (...items: Der[]): Der => asn1.create(Class.UNIVERSAL, Type.SET, true, items);
export const explicit = (tag: number, item: Der): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, true, [item]);
/** IMPLICIT [tag] of a primitive type. */
export const implicit = (tag: number, content: Uint8Array): Der =>
  asn1.create(Class.CONTEXT_SPECIFIC, tag, false, binary(content));
export const oid = (dotted: string): Der => primitive(Type.OID, asn1.oidToDer(dotted).getBytes());
export const octets = (content: Uint8Array): Der => primitive(Type.OCTETSTRING, binary(content));
export const bits = (content: Uint8Array, unused = 0): Der =>
  primitive(Type.BITSTRING, String.fromCharCode(unused) + binary(content));
/** A positive INTEGER from big-endian bytes without leading zeros. */
export const unsigned = (content: Uint8Array): Der =>
  primitive(Type.INTEGER, (content[0]! & 0x80 ? "\0" : "") + binary(content));
export const integer = (value: number): Der => primitive(Type.INTEGER, asn1.integerToDer(value).getBytes());
export const boolean = (value: boolean): Der => primitive(Type.BOOLEAN, value ? "\xff" : "\0");
export const nil = (): Der => primitive(Type.NULL, "");
export const utf8 = (text: string): Der => primitive(Type.UTF8, binary(Buffer.from(text, "utf8")));
export const bmp = (text: string): Der => primitive(Type.BMPSTRING, text);

/** Takes up DER that is encoded already, byte for byte. */
export function encoded(bytes: Uint8Array): Der {
  const element = elementAt(bytes, 0);
  // The whole identifier octet goes in as the type: forge would take a constructed value apart otherwise.
  return asn1.create(Class.UNIVERSAL, bytes[0]!, false, binary(bytes.subarray(element.start, element.end)));
}

/** UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5). */
export function time(milliseconds: number): Der {
  const digits = `${new Date(milliseconds)
    .toISOString()
    .slice(0, 19)
    .replaceAll(/[^0-9]/g, "")}Z`;
  return digits < "2050" ? primitive(Type.UTCTIME, digits.slice(2)) : primitive(Type.GENERALIZEDTIME, digits);
}

export const toDer = (item: Der): Buffer => Buffer.from(asn1.toDer(item).getBytes(), "latin1");

/** One element: its identifier octet and its bytes, with and without the header. */
export type Element = { readonly tag: number; readonly whole: Buffer; readonly content: Buffer };

/** Reads the element that `bytes` begin with. Throws on anything but definite lengths that fit. */
export function readElement(bytes: Uint8Array): Element {
  const { tag, start, end } = elementAt(bytes, 0);
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { tag, whole: buffer.subarray(0, end), content: buffer.subarray(start, end) };
}

export function readChildren(content: Buffer): Element[] {
  const children: Element[] = [];
  for (let rest = content; rest.length > 0;) {
    const child = readElement(rest);
    children.push(child);
    rest = rest.subarray(child.whole.length);
  }
  return children;
}

function elementAt(bytes: Uint8Array, offset: number): { tag: number; start: number; end: number } {
  const first = bytes[offset + 1];
  if (first === undefined || first === 0x80 || first > 0x83) throw new RangeError("DER length is malformed");
  let start = offset + 2;
  let length = first;
  if (first > 0x80) {
    length = 0;
    for (let left = first - 0x80; left > 0; left--) length = length * 256 + (bytes[start++] ?? Infinity);
  }
  if (start + length > bytes.length) throw new RangeError("DER element is cut short");
  return { tag: bytes[offset]!, start, end: start + length };
}

function primitive(type: forge.asn1.Type, content: string): Der {
  return asn1.create(Class.UNIVERSAL, type, false, content);
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
