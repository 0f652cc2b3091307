// Chromium without a window, in a home of its own whose NSS database holds the CA or does not. Every run ends within a bound,
// and what it leaves running is found by its home and ended by its number.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

export type Chromium = AsyncDisposable & {
  /** The page as it stands once its scripts have done what they wait for; where none was shown, `error` says why. */
  show(url: string, more?: readonly string[]): Promise<Shown>;
  /** The numbers of those of its processes that run. */
  running(): Promise<number[]>;
};

export type Shown = {
  readonly page: string;
  /** `ERR_…` */
  readonly error: string | undefined;
};

/** `variables`: its whole environment, HOME aside. */
export async function openChromium(
  home: string,
  variables: Readonly<Record<string, string>>,
  caFile?: string,
): Promise<Chromium> {
  const env = { ...variables, HOME: home };
  const database = join(home, ".pki", "nssdb");
  await mkdir(database, { recursive: true });
  const certutil = (...args: string[]) => run("certutil", ["-d", `sql:${database}`, ...args], { env });
  await certutil("-N", "--empty-password");
  if (caFile !== undefined) await certutil("-A", "-n", "Sallyport", "-t", "C,,", "-i", caFile);

  const running = async (): Promise<number[]> => {
    const numbers = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
    const ours = await Promise.all(numbers.map((number) => startedWith(number, `HOME=${home}`)));
    return numbers.filter((_, at) => ours[at]).map(Number);
  };
  return {
    running,
    async show(url, more = []) {
      const data = await mkdtemp(join(home, "data-"));
      const { stdout, stderr } = await run(
        "chromium",
        [...ARGUMENTS, `--user-data-dir=${data}`, ...more, "--dump-dom", url],
        { env, timeout: LIMIT_MS, killSignal: "SIGKILL" },
      ).catch((cause: Error & { stdout?: string; stderr?: string; killed?: boolean }) => {
        if (cause.killed !== false) throw cause;
        return { stdout: cause.stdout ?? "", stderr: cause.stderr ?? "" };
      });
      return { page: stdout, error: /Page load failed: net::(ERR_\w+)/.exec(stderr)?.[1] };
    },
    async [Symbol.asyncDispose]() {
      for (const pid of await running()) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended by itself.
        }
      }
    },
  };
}

/** Whether a live process was started with this in its environment; an ended one has none. */
async function startedWith(pid: string, variable: string): Promise<boolean> {
  const environment = await readFile(join("/proc", pid, "environ"), "latin1").catch(() => "");
  return environment.split("\0").includes(variable);
}

const run = promisify(execFile);
const LIMIT_MS = 60_000;

const ARGUMENTS = [
  "--headless",
  // It will not start as root with one.
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--disable-breakpad",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  // Its own clock, which stands still while a page waits for the network: the dump is of what the page's scripts made.
  "--virtual-time-budget=10000",
];
