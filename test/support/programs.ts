// Which programs the tests can run on this machine: those on the PATH, and those that scripts/setup-tests.sh put beside the
// repository because no package of the system has them.

import { accessSync, constants } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";

export function findProgram(program: string): string | undefined {
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), OWN];
  return directories
    .map((directory) => join(directory, program))
    .find((place) => {
      try {
        accessSync(place, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** As scripts/setup-tests.sh has it. */
const OWN = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "sallyport-tests", "bin");
