// What one part of the file says about another: names that must exist, ids and ports that must differ. Works on the value
// as written, so that these errors come together with those of form.

import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import { checkIdentities, listening } from "./identities.ts";
import { unknownPreset, UNRESTRICTED, type Library } from "./presets.ts";
import { isRecord, type Path, type Source } from "./source.ts";

export function checkReferences(source: Source, value: unknown, library: Library): Diagnostic[] {
  if (!isRecord(value)) return [];
  const context = { source, value };
  return [
    ...checkPolicyNames(context),
    ...checkPresetNames(context, library),
    ...checkIdentities(context),
    ...checkListeners(context),
  ];
}

type Context = { readonly source: Source; readonly value: Readonly<Record<string, unknown>> };

function checkPolicyNames({ source, value }: Context): Diagnostic[] {
  const policies = value["policies"];
  if (policies !== undefined && !isRecord(policies)) return [];
  const known = policies === undefined ? ["default"] : Object.keys(policies);
  const named: { path: Path; name: unknown }[] = [{ path: ["anonymous"], name: value["anonymous"] }];
  for (const [index, sandbox] of list(value["sandboxes"]).entries()) {
    if (!isRecord(sandbox)) continue;
    const path: Path = ["sandboxes", index, "policy"];
    const { policy } = sandbox;
    if (!isRecord(policy)) named.push({ path, name: policy });
    else for (const phase of ["setup", "agent"]) named.push({ path: [...path, phase], name: policy[phase] });
  }
  return named.flatMap(({ path, name }) =>
    typeof name !== "string" || known.includes(name)
      ? []
      : [
          source.error(
            source.at(path, "value"),
            `unknown policy ${JSON.stringify(name)}${didYouMean(name, known)}`,
          ),
        ],
  );
}

function checkPresetNames({ source, value }: Context, library: Library): Diagnostic[] {
  const policies = value["policies"];
  if (!isRecord(policies)) return [];
  return Object.entries(policies).flatMap(([policyName, policy]) => {
    const preset = isRecord(policy) ? policy["preset"] : undefined;
    const path: Path = ["policies", policyName, "preset"];
    const named = Array.isArray(preset)
      ? preset.map((name: unknown, index) => ({ name, path: [...path, index] }))
      : [{ name: preset, path }];
    return named.flatMap(({ name, path }) => {
      if (typeof name !== "string") return [];
      const place = source.at(path, "value");
      const known = library.get(name);
      if (known === undefined) return [source.error(place, unknownPreset(name, library))];
      // Of `all` lint warns, also where another preset includes it.
      return known.warning === undefined || name === UNRESTRICTED
        ? []
        : [source.warning(place, `preset ${JSON.stringify(name)}: ${known.warning.trim()}`)];
    });
  });
}

/** Two listeners cannot have one address; port 0 is another each time. */
function checkListeners({ source, value }: Context): Diagnostic[] {
  const all = listening(value);
  const admin = { at: ["admin"], address: adminAddress(value["admin"]), redirects: false };
  const seen = new Set<unknown>();
  // In the order of the reference.
  const inOrder = [
    ...all.filter(({ redirects }) => !redirects),
    admin,
    ...all.filter((one) => one.redirects),
  ];
  return inOrder.flatMap(({ at, address }) => {
    if (typeof address !== "string" || address.endsWith(":0")) return [];
    if (!seen.has(address)) {
      seen.add(address);
      return [];
    }
    return [source.error(source.at(at, "value"), `two listeners cannot share ${address}`)];
  });
}

function adminAddress(value: unknown): unknown {
  return isRecord(value) ? (value["listen"] ?? ADMIN) : (value ?? ADMIN);
}

const ADMIN = "127.0.0.1:9128";

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
