// The program inside the wall that `sallyport exec` builds: it ends as the command ends.

import { runInside } from "../exec/inside.ts";
import type { Inside } from "../exec/wall.ts";

process.exit(await runInside(JSON.parse(process.argv[2] ?? "") as Inside));
