// The test authority's certificate as a file, which is how the proxy is told to trust it.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Issued } from "./pki.ts";
import { temporaryDirectory } from "./temporary.ts";

export async function trustFile(ca: Issued): Promise<string> {
  const file = join(temporaryDirectory("sallyport-trust-"), "ca.pem");
  await writeFile(file, ca.cert);
  return file;
}
