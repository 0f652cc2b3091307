// docs/clients.md, of what the clients said. What differs from run to run or from machine to machine is left out of it.

import type { Row } from "./rows.ts";

export type Said = { download?: string; refusedHost?: string; refusedMethod?: string };

export function renderClients(rows: readonly Row[], said: ReadonlyMap<string, Said>): string {
  const lines = rows.map(({ at, name, download, never }) => {
    const { refusedHost, refusedMethod } = said.get(at) ?? {};
    const method = refusedMethod === undefined ? (never ?? "") : code(refusedMethod);
    return `| ${name} | ${download.says} | ${code(refusedHost ?? "")} | ${method} |`;
  });
  return `${HEAD}\n${lines.join("\n")}\n${FOOT}`;
}

/** The part of what a person saw that `shows` picks, less what is of this run. */
export function shortened(seen: string, shows: RegExp): string | undefined {
  const match = shows.exec(seen);
  return (match?.[1] ?? match?.[0])
    ?.replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "…")
    .replaceAll(/[\w-]+\.attacker\.example/g, "attacker.example")
    .replaceAll(/((?:attacker\.example|origin\.test)):\d+/g, "$1")
    .trim();
}

function code(text: string): string {
  return `\`${text.replaceAll("|", "\\|").replaceAll(/\s*\n\s*/g, " ")}\``;
}

const HEAD = `# Clients

What the clients that agents use do behind the wall, and what their people see. \`test/containers/clients.test.ts\` runs each of them in a
container on a network that leads nowhere but to the proxy, with what [\`sallyport env\`](environment.md) says and nothing else, and writes
this table of their own words: \`npm run test:containers -- -u clients\`. Debian 12's packages, and npm's; versions, ports and audit ids are left out.

Everything is refused before an octet of it leaves; the test's origins would have taken all of it. A refused host is refused at
\`CONNECT\`, of which many clients show the status alone: the reason is in its status line, in its page, and in the audit log.

| Client | Allowed: gets | A refused host: shows | A refused method: shows |
| --- | --- | --- | --- |`;
const FOOT = "";
