// README.md as a newcomer runs it: its blocks, word for word, in one shell, against the program started as it says. Only what
// a test must not touch stands in: the port, the registry, and the directory that certificates and records go to.

import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NODE_FLAGS } from "../../scripts/node-flags.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { findProgram } from "../support/programs.ts";
import { blocksOf, type Command, commandsOf, readText, ROOT } from "./markdown.ts";

const blocks = blocksOf("README.md");
const [start] = blocks.filter(({ language }) => language === "sh");
const [startup, decisions] = blocks.filter(({ language }) => language === "text");
const shown = blocks.filter(({ language }) => language === "console").flatMap(commandsOf);

// What a newcomer is asked to type needs these; CI has them.
const missing = ["bash", "curl", "git"].filter((program) => findProgram(program) === undefined);

describe.skipIf(missing.length > 0 && process.env["CI"] === undefined)("README", () => {
  const clone = mkdtempSync(join(tmpdir(), "sallyport-readme-"));
  let registry: RecordingOrigin;
  let server: ChildProcess;
  let log = "";
  let ran: readonly Command[];

  beforeAll(async () => {
    const ca = createCa();
    registry = await recordingOrigin(ca.issue({ names: [REGISTRY] }));
    registry.behave(answerRequests(() => PACKAGE));
    const port = await freePort();
    furnish(clone, { caPem: ca.cert, port });
    const env = newcomer(clone, registry.port);
    // npm stops what it runs when it is stopped, but not before it is told as a group.
    const { command = "", args } = split(start?.text.split(" && ")[1] ?? "");
    server = spawn(command, args, { cwd: clone, env, stdio: ["ignore", "ignore", "pipe"], detached: true });
    server.stderr?.setEncoding("utf8").on("data", (text: string) => (log += text));
    await logged(() => log.includes("admin listening"));
    ran = await runAll(shown, { cwd: clone, env });
    await logged(() => log.includes("POST github.com"));
    log = log.replaceAll(String(port), "3128").replaceAll(/127\.0\.0\.1 port=\d{5}/g, "127.0.0.1 port=9128");
  }, 120_000);

  afterAll(async () => {
    if (server.pid !== undefined && server.exitCode === null) {
      const ended = once(server, "exit");
      process.kill(-server.pid, "SIGTERM");
      await ended;
    }
    await registry[Symbol.asyncDispose]();
    rmSync(clone, { recursive: true, force: true });
  });

  test("starts with two commands that are the project's own", () => {
    const commands = blocks.filter(({ language }) => language === "sh").map(({ text }) => text);
    expect(commands).toContain("npm ci && npm start");
    expect(commands).toContain("npm ci && npm test");
    expect(JSON.parse(readText("package.json"))).toMatchObject({
      scripts: {
        start: `node ${NODE_FLAGS.join(" ")} src/cli/main.ts run`,
        test: "vitest run",
      },
    });
  });

  test("what is to be pasted is what is then shown", () => {
    const pasted = blocks.filter(({ language }) => language === "sh")[1]?.text.split("\n");
    expect(pasted).toEqual(shown.slice(0, pasted?.length).map(({ command }) => command));
  });

  test.each(shown.map(({ command }, index) => ({ command, index })))("$command", ({ index }) => {
    expect(masked(ran[index]?.output ?? [])).toEqual(masked(shown[index]?.output ?? []));
  });

  test("the first terminal says what README shows", () => {
    const timed = (text: string): string[] => text.split("\n").filter((line) => /^\d\d:/.test(line));
    // The hint between them is for terminals only.
    expect(masked(timed(log).slice(0, 2))).toEqual(masked(timed(startup?.text ?? "")));
    expect(masked(timed(log).slice(2))).toEqual(masked(timed(decisions?.text ?? "")));
  });

  test("the registry saw one GET, and nobody else saw anything", () => {
    expect(registry.received.match(/^[A-Z]+ \S+ HTTP/gm)).toEqual(["GET /is-number HTTP"]);
  });

  async function logged(enough: () => boolean): Promise<void> {
    while (!enough()) {
      if (server.exitCode !== null) throw new Error(`it ended:\n${log}`);
      await once(server.stderr!, "data", { signal: AbortSignal.timeout(20_000) });
    }
  }
});

/** As a clone after `npm ci`, with a commit of its own, and the file that lets a stand-in be reached. */
function furnish(clone: string, { caPem, port }: { caPem: string; port: number }): void {
  for (const name of ["bin", "src", "presets", "node_modules"])
    symlinkSync(join(ROOT, name), join(clone, name));
  copyFileSync(join(ROOT, "package.json"), join(clone, "package.json"));
  writeFileSync(join(clone, "roots.pem"), caPem);
  writeFileSync(
    join(clone, "sallyport.yaml"),
    `listen: 127.0.0.1:${port}
admin: 127.0.0.1:0
log: { format: pretty }
anonymous: default
upstream: { trust: [system, roots.pem], hosts: { ${REGISTRY}: [127.0.0.1] } }
policies:
  default:
    preset: common-dependencies
    intents: [git-fetch]
    # Allows nothing of its own: it says where the name may lead.
    allow: [{ host: ${REGISTRY}, paths: [/none], networks: [127.0.0.0/8] }]
`,
  );
  const git = (...args: string[]): void => void execFileSync("git", args, { cwd: clone, stdio: "ignore" });
  git("init");
  git("add", "package.json");
  git("-c", "user.name=Newcomer", "-c", "user.email=new@comer.example", "commit", "-m", "secret");
}

/** Whoever has just cloned it: nothing of this machine's proxy, CA or npm settings. */
function newcomer(clone: string, registryPort: number): Record<string, string> {
  return {
    PATH: `${join(ROOT, "node_modules/.bin")}:${process.env["PATH"]}`,
    HOME: clone,
    NO_COLOR: "1",
    npm_config_registry: `https://${REGISTRY}:${registryPort}/`,
    npm_config_update_notifier: "false",
    npm_config_fetch_retries: "0",
  };
}

/** One shell for all of them, as at a terminal: what the first exports, the others have. */
async function runAll(
  commands: readonly Command[],
  at: { cwd: string; env: Record<string, string> },
): Promise<Command[]> {
  const file = join(at.cwd, "script.sh");
  writeFileSync(file, commands.map(({ command }) => `${command}\necho '${MARK}'\n`).join(""));
  const { stdout } = await promisify(execFile)("bash", ["-c", `source ${file} 2>&1`], {
    ...at,
    timeout: 100_000,
  });
  const outputs = stdout.split(`${MARK}\n`);
  return commands.map(({ command }, index) => ({
    command,
    output: (outputs[index] ?? "").trimEnd().split("\n"),
  }));
}

/** What differs from one run to the next. */
function masked(lines: readonly string[]): string[] {
  return lines
    .filter((line) => line !== "")
    .map((line) =>
      line
        .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID")
        .replaceAll(/\d{4}-\d\d-\d\d /g, "DAY ")
        .replaceAll(/\d\d:\d\d:\d\dZ?/g, "TIME")
        .replaceAll(/[\d.]+ (ms|s|B|KiB) /g, "N $1 ")
        .replaceAll(/(\d+) records \(1 to \d+\)/g, "N records")
        .replaceAll(/signed up to \d+/g, "signed up to N")
        .replaceAll(/(?:registry\.example|stub\.npmjs\.org(?::\d+)?)\//g, "REGISTRY/")
        // curl before 8.
        .replace("Received HTTP code 403 from proxy after CONNECT", "CONNECT tunnel failed, response 403"),
    );
}

function split(text: string): { command: string | undefined; args: string[] } {
  const [command, ...args] = text.split(" ");
  return { command, args };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const REGISTRY = "stub.npmjs.org";
const MARK = "--- next ---";
const PACKUMENT = JSON.stringify({
  name: "is-number",
  "dist-tags": { latest: "7.0.0" },
  versions: { "7.0.0": { name: "is-number", version: "7.0.0", dist: {} } },
});
const PACKAGE = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${PACKUMENT.length}\r\n\r\n${PACKUMENT}`;
