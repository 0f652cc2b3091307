// Path globs: `*` within a segment, `**` as a whole segment, `?` for one octet; everything else stands for itself.
// A path is judged in every reading that an origin may take, and one with more readings than these never matches.

import picomatch from "picomatch";

import type { RequestPath } from "../net/request-target.ts";

export type Glob = RegExp;
export type GlobProblem = { readonly problem: string };

export function compileGlob(text: string): Glob | GlobProblem {
  const problem = problemOf(text);
  if (problem !== undefined) return { problem };
  return picomatch.makeRe(text.replace(LITERAL, "\\$&"), OPTIONS);
}

/** For deny rules: some reading matches. A path that cannot be read one way may be any path. */
export function matchesAny(globs: readonly Glob[], path: RequestPath): boolean {
  return isUnclear(path) || readings(path).some((reading) => globs.some((glob) => glob.test(reading)));
}

/** For allow rules: every reading matches. */
export function matchesEvery(globs: readonly Glob[], path: RequestPath): boolean {
  return !isUnclear(path) && readings(path).every((reading) => globs.some((glob) => glob.test(reading)));
}

/** No glob can tell what this path names. */
export function isUnclear(path: RequestPath): boolean {
  return path.ambiguous || path.sent.length > PATH_MAX;
}

/** The paths that an origin may take it for. */
export function readings(path: RequestPath): readonly string[] {
  return path.plain ? [path.canonical] : [path.canonical, tidy(path.sent)];
}

/** Unreserved octets decoded and hex in upper case: the same path in every reading (RFC 3986 §6.2.2). */
function tidy(path: string): string {
  return path.replace(ESCAPE, (escape) => {
    const octet = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
    return UNRESERVED.test(octet) ? octet : escape.toUpperCase();
  });
}

function problemOf(text: string): string | undefined {
  const quoted = `\`${text}\``;
  if (!text.startsWith("/")) return `${quoted} does not begin with \`/\``;
  if (!ALPHABET.test(text))
    return `${quoted} holds what never stands in a path: a space, a fragment, a backslash or non-ASCII`;
  if (/%(?![0-9A-F]{2})/.test(text) || tidy(text) !== text) {
    const right = tidy(text);
    return right === text
      ? `${quoted} has a bad percent-encoding`
      : `${quoted} would never match; write \`${right}\``;
  }
  const segments = text.slice(1).split("/");
  if (
    segments.some(
      (segment, at) => segment === "." || segment === ".." || (segment === "" && at < segments.length - 1),
    )
  ) {
    return `${quoted} would never match: \`//\`, \`/./\` and \`/../\` are resolved first`;
  }
  if (segments.some((segment) => segment.includes("**") && segment !== "**"))
    return `${quoted}: \`**\` is a whole segment`;
  // More would let a sandbox choose paths that take very long to not match.
  if (segments.some((segment) => segment !== "**" && segment.split("*").length > 2)) {
    return `${quoted}: one \`*\` may stand in a segment`;
  }
  if (segments.filter((segment) => segment === "**").length > 2)
    return `${quoted}: two \`**\` may stand in a path`;
  return undefined;
}

const OPTIONS = {
  dot: true,
  nonegate: true,
  noextglob: true,
  nobrace: true,
  nobracket: true,
  strictSlashes: true,
} as const;
/** Longest path that globs are tried on; matching costs up to its square. */
const PATH_MAX = 1024;
const ALPHABET = /^[!"$-[\]-~]+$/;
const LITERAL = /["()[\]{}|!+^$@]/g;
const ESCAPE = /%[0-9A-Fa-f]{2}/g;
const UNRESERVED = /[A-Za-z0-9._~-]/;
