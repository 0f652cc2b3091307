// What one part of the file says about another: names that must exist, ids and ports that must differ. Works on the value
// as written, so that these errors come together with those of form.

import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import { unknownPreset, UNRESTRICTED, type Library } from "./presets.ts";
import { isRecord, type Path, type Source } from "./source.ts";

export function checkReferences(source: Source, value: unknown, library: Library): Diagnostic[] {
  if (!isRecord(value)) return [];
  const context = { source, value };
  return [
    ...checkPolicyNames(context),
    ...checkPresetNames(context, library),
    ...checkSandboxes(context),
    ...checkListeners(context),
    ...checkRedirects(context),
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

function checkSandboxes({ source, value }: Context): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const ids = new Set<string>();
  const certificates = new Set<string>();
  for (const [index, sandbox] of list(value["sandboxes"]).entries()) {
    if (!isRecord(sandbox)) continue;
    const { id, secret, certificate } = sandbox;
    if (secret === undefined && certificate === undefined)
      diagnostics.push(source.error(source.at(["sandboxes", index], "value"), 'missing key "secret"'));
    if (typeof certificate === "string") {
      const place = source.at(["sandboxes", index, "certificate"], "value");
      if (certificates.has(certificate))
        diagnostics.push(source.error(place, `${JSON.stringify(certificate)} names another sandbox already`));
      certificates.add(certificate);
    }
    if (typeof id === "string") {
      const place = source.at(["sandboxes", index, "id"], "value");
      if (ids.has(id)) diagnostics.push(source.error(place, `sandbox ${JSON.stringify(id)} is there twice`));
      ids.add(id);
    }
    if (typeof secret === "string" && secret.length >= 8 && secret.length < LONG_ENOUGH) {
      const place = source.at(["sandboxes", index, "secret"], "value");
      diagnostics.push(source.warning(place, `a secret should have at least ${LONG_ENOUGH} characters`));
    }
  }
  if (value["sandboxes"] === undefined && value["anonymous"] === undefined) {
    const message = "neither sandboxes nor anonymous is given: every connection is answered 407";
    diagnostics.push(source.warning(source.at([], "value"), message));
  }
  return diagnostics;
}

/** Two listeners cannot have one address; port 0 is another each time. */
function checkListeners({ source, value }: Context): Diagnostic[] {
  const { listen, admin } = value;
  const places: { path: Path; text: unknown }[] = Array.isArray(listen)
    ? listen.map((text: unknown, index) => ({ path: ["listen", index], text }))
    : [{ path: ["listen"], text: listen ?? "127.0.0.1:3128" }];
  places.push({ path: ["admin"], text: admin ?? "127.0.0.1:9128" });
  for (const { path, entry } of redirects(value))
    places.push({ path: [...path, "listen"], text: entry["listen"] });
  const seen = new Set<unknown>();
  return places.flatMap(({ path, text }) => {
    if (typeof text !== "string" || text.endsWith(":0")) return [];
    if (!seen.has(text)) {
      seen.add(text);
      return [];
    }
    return [source.error(source.at(path, "value"), `two listeners cannot share ${text}`)];
  });
}

/** Who comes in by a redirect has no credentials to give: the listener says who it is, or nobody does. */
function checkRedirects({ source, value }: Context): Diagnostic[] {
  const ids = list(value["sandboxes"]).flatMap((sandbox) => {
    const id = isRecord(sandbox) ? sandbox["id"] : undefined;
    return typeof id === "string" ? [id] : [];
  });
  return redirects(value).flatMap(({ path, entry: { sandbox } }) => {
    if (typeof sandbox === "string" && !ids.includes(sandbox)) {
      const message = `unknown sandbox ${JSON.stringify(sandbox)}${didYouMean(sandbox, ids)}`;
      return [source.error(source.at([...path, "sandbox"], "value"), message)];
    }
    if (sandbox !== undefined || value["anonymous"] !== undefined) return [];
    const message = "neither sandbox nor anonymous is given: everything that arrives here is refused";
    return [source.warning(source.at(path, "value"), message)];
  });
}

type Redirect = { readonly path: Path; readonly entry: Readonly<Record<string, unknown>> };

/** The entries of `transparent` and `dns`, the latter a mapping or a list of them. */
function redirects({ transparent, dns }: Readonly<Record<string, unknown>>): Redirect[] {
  const entries = (key: string, value: unknown): Redirect[] =>
    list(value).flatMap((entry, index) => (isRecord(entry) ? [{ path: [key, index], entry }] : []));
  const responders = isRecord(dns) ? [{ path: ["dns"], entry: dns }] : entries("dns", dns);
  return [...entries("transparent", transparent), ...responders];
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const LONG_ENOUGH = 16;
