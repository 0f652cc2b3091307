// The benchmark's proxy: a whole Sallyport from the sallyport.yaml in DIRECTORY. Prints its port.

import { startSallyport } from "../../src/assemble.ts";

const sallyport = await startSallyport({ cwd: process.env["DIRECTORY"] ?? ".", env: process.env });
console.log(JSON.stringify(sallyport.listen.map(({ port }) => port)));
