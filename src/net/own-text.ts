// Texts that are kept for long. V8 keeps a slice as a view of what it was cut out of: a host's name would keep a whole head, of up to 64 KiB.

/** The same text, latin1, in memory of its own. */
export function ownText(text: string): string {
  return text.length < SLICE_MIN ? text : Buffer.from(text, "latin1").toString("latin1");
}

/** Below this V8 copies by itself (SlicedString::kMinLength). */
const SLICE_MIN = 13;
