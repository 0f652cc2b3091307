// What a sandbox is to trust, in every form that its programs read. Makes the CA if there is none yet.

import type { Config } from "../config/types.ts";
import type { Material } from "../environment/files.ts";

export async function material(config: Config): Promise<Material> {
  const { anchorPem } = await import("./anchor.ts");
  const { trustMaterial } = await import("../tls/bundle.ts");
  return trustMaterial(await anchorPem(config));
}
