// undici.mjs METHOD URL [BODY]: undici's fetch through its EnvHttpProxyAgent.

import { EnvHttpProxyAgent, fetch } from "undici";

const [method, url, body] = process.argv.slice(2);
const answer = await fetch(url, { method, body, dispatcher: new EnvHttpProxyAgent() });
process.stdout.write(await answer.text());
if (!answer.ok) process.exitCode = 1;
