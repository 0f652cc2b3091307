// Host patterns as operators write them. One spelling each: what is not canonical is refused with the right
// spelling named, never repaired, so that a file reads the same to everybody.

import { parseAddress, parseNetwork, type Network } from "../net/address.ts";
import { isAddressLiteral, parseHostUnicode, type Host } from "../net/host.ts";

export type HostPattern =
  | { readonly kind: "name"; readonly host: Host }
  /** Any depth below `parent`; with `self` the parent too. */
  | { readonly kind: "below"; readonly parent: Host; readonly self: boolean }
  /** One label in front of `parent`: begins with `prefix`, ends with `suffix`, and may have nothing between. */
  | { readonly kind: "label"; readonly parent: Host; readonly prefix: string; readonly suffix: string }
  | { readonly kind: "network"; readonly network: Network };

export type PatternProblem = { readonly kind: "problem"; readonly message: string };

/** `example.com`, `*.example.com`, `**.example.com`, `api-*.example.com`, `192.0.2.1`, `2001:db8::/32`. */
export function parsePattern(text: string): HostPattern | PatternProblem {
  const address = parseAddress(text);
  if (address !== undefined) return address === text ? network(text) : misspelt(text, address);
  if (text.includes("/") && !text.includes("*")) return parseCidr(text);
  if (text === "*" || text === "**") {
    return problem("a wildcard alone names every host; the preset `all` does that, and says so");
  }
  if (text.startsWith("**.")) return below(text, 3);
  if (text.startsWith("*.")) return below(text, 2);
  if (text.includes("*")) return inLabel(text);
  const host = canonical(text);
  return typeof host === "string" ? { kind: "name", host } : host;
}

function network(text: string): HostPattern {
  return { kind: "network", network: parseNetwork(text)! };
}

function parseCidr(text: string): HostPattern | PatternProblem {
  const [start = "", prefix = "", ...more] = text.split("/");
  const address = parseAddress(start);
  if (address === undefined || more.length > 0) return misspelt(text, respell(text));
  if (address !== start) return misspelt(text, `${address}/${prefix}`);
  if (parseNetwork(text) === undefined) {
    return problem(
      `\`${text}\` is not a network: the prefix is out of range, or address bits are set beyond it`,
    );
  }
  return network(text);
}

function below(text: string, skip: number): HostPattern | PatternProblem {
  const parent = canonical(text.slice(skip), text.slice(0, skip));
  return typeof parent === "string" ? { kind: "below", parent, self: skip === 3 } : parent;
}

function inLabel(text: string): HostPattern | PatternProblem {
  const dot = text.indexOf(".");
  const label = dot < 0 ? text : text.slice(0, dot);
  const [prefix = "", suffix, ...more] = label.split("*");
  if (dot < 0 || suffix === undefined || more.length > 0 || text.includes("*", dot)) {
    return problem(
      `\`${text}\`: one \`*\` may stand, in the first label only, with a host name after that label`,
    );
  }
  if (!FRAGMENT.test(prefix) || !FRAGMENT.test(suffix) || prefix.startsWith("-") || suffix.endsWith("-")) {
    return problem(`\`${text}\`: beside a \`*\` a label holds only a-z, 0-9, \`-\` and \`_\`, in lower case`);
  }
  if (prefix.startsWith("xn--"))
    return problem(`\`${text}\`: a \`*\` cannot stand inside an encoded (xn--) label`);
  const parent = canonical(text.slice(dot + 1), text.slice(0, dot + 1));
  return typeof parent === "string" ? { kind: "label", parent, prefix, suffix } : parent;
}

/** The DNS name that `text` spells; `wildcard` is what stands in front of it, for the message. */
function canonical(text: string, wildcard = ""): Host | PatternProblem {
  const host = parseHostUnicode(text);
  if (host === undefined) return misspelt(wildcard + text, respell(text), wildcard);
  if (!isAddressLiteral(host)) return spells(text, host) ? host : misspelt(wildcard + text, host, wildcard);
  if (wildcard === "") return misspelt(text, host);
  return problem(
    `\`${wildcard}${text}\`: no wildcard reaches an address; write a network, such as 10.0.0.0/8`,
  );
}

/** A-labels stand for themselves; a U-label may stand for its A-label if it is already in its mapped form. */
function spells(text: string, host: Host): boolean {
  if (text === host) return true;
  if (text !== text.normalize("NFKC").toLowerCase()) return false;
  const labels = host.split(".");
  const written = text.split(".");
  return (
    labels.length === written.length &&
    labels.every(
      (label, at) => label === written[at] || (label.startsWith("xn--") && !written[at]!.startsWith("xn--")),
    )
  );
}

/** What was probably meant: the host of a URL, without userinfo, port, trailing dot and capitals. */
function respell(text: string): Host | undefined {
  const bare = text
    .trim()
    .replace(/^[a-z][a-z0-9+.-]*:\/\//i, "")
    .replace(/[/?#].*$/s, "")
    .replace(/^.*@/s, "")
    .replace(/:[0-9]*$/, "")
    .replace(/\.+$/, "");
  return parseHostUnicode(bare) ?? parseHostUnicode(bare.replace(/^\.+/, ""));
}

function misspelt(text: string, right: string | undefined, wildcard = ""): PatternProblem {
  if (right === undefined)
    return problem(`\`${text}\` is not a host name, a wildcard of one, an address or a network`);
  // Squid and cookies write `.example.com` for a name and everything below it.
  const front = wildcard === "" && text.startsWith(".") ? "**." : wildcard;
  return problem(`\`${text}\` is not in its canonical spelling; write \`${front}${right}\``);
}

function problem(message: string): PatternProblem {
  return { kind: "problem", message };
}

const FRAGMENT = /^[a-z0-9_-]*$/;
