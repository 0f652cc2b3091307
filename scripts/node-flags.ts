// What every launcher gives to Node, as the first line of bin/sallyport.js has it.

import { readFileSync } from "node:fs";

const launcher = readFileSync(new URL("../bin/sallyport.js", import.meta.url), "utf8");
const flags = /^#!\/usr\/bin\/env -S node (--\S+(?: --\S+)*)$/m.exec(launcher)?.[1];
if (flags === undefined) throw new Error("bin/sallyport.js: its first line names no flags of Node");

export const NODE_FLAGS: readonly string[] = flags.split(" ");
