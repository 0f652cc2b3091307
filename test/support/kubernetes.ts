// deploy/kubernetes as `kubectl` renders it, judged by Kubernetes' published schemas: their compiled validators for values,
// their types for keys that there are not, which the schemas let pass.

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { findProgram } from "./programs.ts";
import { plainEnvironment } from "./real-sallyport.ts";

export type Manifest = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
} & {
  // oxlint-disable-next-line no-explicit-any -- whatever a kind has; the schemas judge it
  readonly [key: string]: any;
};

export type Tree = Disposable & {
  readonly directory: string;
  render(path: string): Manifest[];
};

/** A copy with what prepare.sh makes in it. */
export function preparedTree(storeUrl: string): Tree {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-kubernetes-"));
  // As committed: who tries the manifests on this machine has keys there.
  const files = execFileSync("git", ["ls-files", "-z"], {
    cwd: join(ROOT, "deploy/kubernetes"),
    encoding: "utf8",
  });
  for (const file of files.split("\0").filter((name) => name !== ""))
    cpSync(join(ROOT, "deploy/kubernetes", file), join(directory, file));
  const bin = join(directory, "bin");
  cpSync(join(ROOT, "test/support/bin"), bin, { recursive: true });
  const env = { ...plainEnvironment(), SALLYPORT_ROOT: ROOT, STORE_URL: storeUrl };
  execFileSync(join(directory, "prepare.sh"), {
    env: { ...env, PATH: `${bin}:${process.env["PATH"]}` },
    stdio: "inherit",
  });
  return {
    directory,
    render: (path) => manifestsIn(run("kubectl", ["kustomize", join(directory, path)])),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

/** The replicas in an overlay of an operator's own, with the component for monitoring. */
export function renderWatched({ directory, render }: Tree): Manifest[] {
  const overlay = join(directory, "overlays/watched");
  mkdirSync(overlay);
  cpSync(join(directory, "overlays/replicas"), overlay, { recursive: true });
  const file = join(overlay, "kustomization.yaml");
  const before = readFileSync(file, "utf8");
  writeFileSync(
    file,
    before.replace("components: [../../keys]", "components: [../../keys, ../../monitoring]"),
  );
  return render("overlays/watched");
}

export function manifestsIn(yaml: string): Manifest[] {
  return parseAllDocuments(yaml).map((document) => unfolded(document.toJS() as Manifest));
}

/** kubectl folds base64, and the validator takes it in one line alone; Kubernetes takes both. */
function unfolded(manifest: Manifest): Manifest {
  const flat = (data: Readonly<Record<string, string>> = {}) =>
    Object.fromEntries(Object.entries(data).map(([key, value]) => [key, value.replace(/\s/g, "")]));
  if (manifest.kind === "Secret") return { ...manifest, data: flat(manifest["data"]) };
  if (manifest["binaryData"] === undefined) return manifest;
  return { ...manifest, binaryData: flat(manifest["binaryData"]) };
}

/** Throws what the schemas say against any of them. */
export async function validate(manifests: readonly Manifest[]): Promise<void> {
  for (const manifest of manifests) {
    const models = (await import(moduleOf(manifest))) as Record<string, new (of: Manifest) => Model>;
    const Kind = models[manifest.kind];
    if (Kind === undefined) throw new Error(`there is no ${manifest.kind} in ${manifest.apiVersion}`);
    try {
      new Kind(manifest).validate();
    } catch (cause) {
      throw new Error(`${manifest.kind} ${manifest.metadata.name}: ${String(cause)}`, { cause });
    }
  }
  checkKeys(manifests);
}

type Model = { validate(): void };

function moduleOf({ apiVersion }: Manifest): string {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  // The packages call groups without a dot by that name, as Kubernetes does.
  const inside = [group, version].filter((part) => part !== "").join("/");
  return apiVersion.startsWith("monitoring.coreos.com/")
    ? `@kubernetes-models/prometheus-operator/${inside}`
    : `kubernetes-models/${inside}`;
}

/** Each as an object literal of its kind's type, so that the compiler names what is misspelt. */
function checkKeys(manifests: readonly Manifest[]): void {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-manifests-"));
  try {
    symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
    const lines = manifests.flatMap((manifest, at) => [
      `import type { I${manifest.kind} as T${at} } from ${JSON.stringify(moduleOf(manifest))};`,
      `export const m${at}: T${at} = ${JSON.stringify(manifest, undefined, 1)};`,
    ]);
    writeFileSync(join(directory, "manifests.mts"), lines.join("\n"));
    const options =
      "--noEmit --strict --skipLibCheck --ignoreConfig --module nodenext --target esnext --types";
    run(join(ROOT, "node_modules/.bin/tsc"), [...options.split(" "), "", join(directory, "manifests.mts")]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function run(program: string, args: readonly string[]): string {
  const path = findProgram(program) ?? program;
  try {
    return execFileSync(path, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 26,
    });
  } catch (fault) {
    const { stdout, stderr } = fault as { stdout?: string; stderr?: string };
    throw new Error(`${program}: ${stdout}${stderr}`, { cause: fault });
  }
}

export const ROOT = join(import.meta.dirname, "../..");
