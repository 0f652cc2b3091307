// The test authority's certificate as a file, which is how the proxy is told to trust it.

import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Issued } from "./pki.ts";

export async function trustFile(ca: Issued): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "sallyport-trust-")), "ca.pem");
  await writeFile(file, ca.cert);
  return file;
}
