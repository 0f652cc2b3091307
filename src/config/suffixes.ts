// Whether a host pattern reaches names that anyone may register or publish under. Such an allowlist entry is a way out,
// so it is warned of; it is the operator's to decide.

import { parse } from "tldts";

/** Why the pattern is too wide, or `undefined`. `pattern` as written; one without a wildcard never is. */
export function publicPattern(pattern: string): string | undefined {
  const labels = pattern.toLowerCase().replace(/\.$/, "").split(".");
  const last = labels.findLastIndex((label) => label.includes("*"));
  if (last < 0) return undefined;
  const zone = labels.slice(last + 1).join(".");
  if (zone === "") return undefined;
  const { publicSuffix, isIcann, isPrivate } = parse(zone, { allowPrivateDomains: true });
  if (publicSuffix === zone && isIcann === true) return `anyone may register a name under ${zone}`;
  if ((publicSuffix === zone && isPrivate === true) || SHARED.has(zone))
    return `anyone may publish under ${zone}`;
  return undefined;
}

/**
 * Zones that are not public suffixes themselves but hold some, or name customers' stores and sites in their first label
 * (providers' documentation, 2026).
 */
const SHARED: ReadonlySet<string> = new Set([
  "aliyuncs.com",
  "amazonaws.com",
  "azure.com",
  "backblazeb2.com",
  "cloudflarestorage.com",
  "core.windows.net",
  "firebaseio.com",
  "googleusercontent.com",
  "myqcloud.com",
  "r2.cloudflarestorage.com",
  "storage.googleapis.com",
  "wasabisys.com",
  "windows.net",
]);
