// What a refusal may cost: an allowed request less its upstream leg. That leg is our own client alone, in a process of its own.

import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { median, type Row } from "./figures.ts";
import { startSallyport } from "./kinds/sallyport.ts";
import type { Lab } from "./lab.ts";
import type { Spent } from "./load.ts";
import type { Contender, Peer, Running } from "./peer.ts";
import { cpuOf, start } from "./processes.ts";
import type { Verdict } from "./report.ts";

const ALLOWED = "the same allowed";
const LEG = "upstream leg alone";

export function refusalContenders(peers: readonly Peer[]): readonly Contender[] {
  return [
    ...peers,
    {
      name: ALLOWED,
      start: (lab) => startSallyport(lab, {}),
      orders: () => ({ method: "GET", status: 200 }),
    },
    { name: LEG, start: startLeg, work },
  ];
}

export function refusalVerdicts(rows: readonly Row[]): readonly Verdict[] {
  const [refused, allowed, leg] = ["sallyport", ALLOWED, LEG].map((name) =>
    rows.find(({ peer }) => peer === name),
  );
  if (refused === undefined || allowed === undefined || leg === undefined) return [];
  const room = median(allowed.rounds.map((cpu, round) => cpu - (leg.rounds[round] ?? 0)));
  return [
    {
      asked: `<= an allowed request less its upstream leg: ${room.toFixed(1)} us`,
      reached: `${refused.cpu.toFixed(1)} us`,
      met: refused.cpu <= room,
    },
  ];
}

async function startLeg(lab: Lab): Promise<Running> {
  const script = join(import.meta.dirname, "leg.ts");
  const child = start([process.execPath, script, String(lab.origin.secured), lab.ca.cert], { core: 0 });
  return { child, pid: child.pid ?? 0, proxy: "", via: "tls", trusted: "" };
}

async function work({ child, pid }: Running, seconds: number): Promise<Spent> {
  if (child.stdout === null) throw new Error("the upstream leg has no output");
  const lines = createInterface({ input: child.stdout });
  const answered = async (seconds: number): Promise<{ requests: number; seconds: number }> => {
    child.stdin?.write(`${seconds}\n`);
    const [line] = (await once(lines, "line")) as [string];
    return JSON.parse(line) as { requests: number; seconds: number };
  };
  try {
    await answered(1); // as long as the load warms up
    const before = await cpuOf(pid);
    const found = await answered(seconds);
    const cpu = (await cpuOf(pid)) - before;
    return { ...found, cpu, errors: 0, error: "", mean: 0, p50: 0, p99: 0, protocol: "" };
  } finally {
    lines.close();
  }
}
