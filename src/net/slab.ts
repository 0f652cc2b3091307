// Copies of small pieces, several to a buffer: to make a buffer for each costs more than to copy what is in it.

/** For what is used up soon: as long as it waits, it keeps 8 KiB, whatever its size. A larger piece has a buffer of its own. */
export function copyOf(octets: Buffer): Buffer {
  const { length } = octets;
  if (length > LARGEST) return ownCopyOf(octets);
  if (used + length > SLAB) {
    slab = Buffer.allocUnsafeSlow(SLAB);
    used = 0;
  }
  const copy = slab.subarray(used, (used += length));
  copy.set(octets);
  return copy;
}

/** For what may wait: a buffer of its own, and none of Node's pool, or one octet would keep all that was read beside it. */
export function ownCopyOf(octets: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(octets.length);
  copy.set(octets);
  return copy;
}

const SLAB = 8 * 1024;
const LARGEST = SLAB / 4;
let slab = Buffer.allocUnsafeSlow(SLAB);
let used = 0;
