// Two origins for a whole file, one in the clear and one over TLS, under names that resolve to them. Each test finds them forgetful
// and as they behaved at first.

import { afterAll, beforeEach } from "vitest";
import { createCa, type Issued } from "./pki.ts";
import {
  answerRequests,
  type Behaviour,
  OK,
  recordingOrigin,
  type RecordingOrigin,
} from "./recording-origin.ts";
import { trustFile } from "./trust-file.ts";

export type TwoOrigins = {
  /** Whose certificate the one over TLS has. */
  readonly ca: Issued;
  readonly plain: RecordingOrigin;
  readonly secure: RecordingOrigin;
  /** The line of sallyport.yaml that knows them. */
  readonly upstream: string;
};

/** `more`: other keys of `upstream`. */
export async function twoOrigins(
  names: readonly string[],
  {
    behaviour = answerRequests(() => OK),
    more = "",
  }: { readonly behaviour?: Behaviour; readonly more?: string } = {},
): Promise<TwoOrigins> {
  const ca = createCa();
  const plain = await recordingOrigin();
  const secure = await recordingOrigin(ca.issue({ names }));
  const hosts = names.map((name) => `${name}: [127.0.0.1]`).join(", ");
  beforeEach(() => {
    for (const origin of [plain, secure]) {
      origin.behave(behaviour);
      origin.reset();
    }
  });
  afterAll(async () => {
    await plain[Symbol.asyncDispose]();
    await secure[Symbol.asyncDispose]();
  });
  return {
    ca,
    plain,
    secure,
    upstream: `upstream: { trust: [${await trustFile(ca)}], hosts: { ${hosts} }${more && `, ${more}`} }`,
  };
}
