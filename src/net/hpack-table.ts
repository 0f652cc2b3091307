// What HPACK knows beforehand (RFC 7541, appendices A and B): the static table, and the Huffman code as a tree.

/** Name and value of each entry, in pairs; the first has index 1. */
export const STATIC: readonly (readonly [name: string, value: string])[] = `
:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204
:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate
accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control
content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type
cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since
last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after
server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate`
  .trim()
  .split(/[|\n]/)
  .map((entry) => {
    const [name = "", value = ""] = entry.split("=");
    return [name, value] as const;
  });

/** Length of each octet's code, and of the end of string; `a` is 5. The code is canonical, so lengths say all. */
const LENGTHS =
  "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabcccc" +
  "ckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsvvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvv" +
  "wwwwwxwwwwwvz";

export const END_OF_STRING = 256;

/** Two slots for each node, by the next bit: another node, or the symbol as its complement (always negative). */
export const HUFFMAN: Int16Array = tree();

function tree(): Int16Array {
  const lengths = Array.from(Buffer.from(LENGTHS), (letter) => letter - 0x61 + 5);
  const nodes: number[] = [0, 0];
  const symbols = lengths.map((_, symbol) => symbol);
  symbols.sort((a, b) => lengths[a]! - lengths[b]! || a - b);
  let code = 0;
  let previous = lengths[symbols[0]!]!;
  for (const symbol of symbols) {
    const length = lengths[symbol]!;
    code <<= length - previous;
    previous = length;
    let at = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const slot = at * 2 + ((code >> bit) & 1);
      if (nodes[slot] === 0) {
        nodes[slot] = nodes.length / 2;
        nodes.push(0, 0);
      }
      at = nodes[slot]!;
    }
    nodes[at * 2 + (code & 1)] = ~symbol;
    code++;
  }
  return Int16Array.from(nodes);
}
