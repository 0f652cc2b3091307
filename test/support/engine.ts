// A container engine's command line as far as examples/ use it, on a machine that has none: the proxy is a process, a container's
// command runs here with what the container would be given. What an engine's networks do is for tests with a real one.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";

const VALUED = new Set([
  "--network",
  "--dns",
  "--cap-drop",
  "--security-opt",
  "--env-file",
  "--volume",
  "--workdir",
]);
const [state = "", program = "", ...args] = process.argv.slice(2);
const data = join(state, "data");
const log = join(state, "log");
appendFileSync(join(state, "calls"), `${JSON.stringify(args)}\n`);

const [command = ""] = args;
if (command === "run") process.exitCode = args.includes("--detach") ? await startProxy() : runCommand();
else if (command === "exec") execProxy();
else if (command === "inspect") process.stdout.write("127.0.0.1\n");
else if (command === "cp")
  cpSync(here(args[1]?.split(":")[1] ?? ""), join(args[2] ?? "", "files"), { recursive: true });
else if (command === "rm") process.kill(Number(readFileSync(join(state, "pid"), "utf8")), "SIGTERM");
else if (command !== "network") throw new Error(`not foreseen: ${args.join(" ")}`);

async function startProxy(): Promise<number> {
  mkdirSync(data, { recursive: true });
  const [mounted = ""] = options("--volume").filter((volume) => volume.includes("sallyport.yaml"));
  const config = parse(here(readFileSync(mounted.split(":")[0] ?? "", "utf8")));
  Object.assign(
    config,
    { listen: ["127.0.0.1:0"], log: { format: "json" } },
    parse(process.env["TEST_CONFIG"] ?? "{}"),
  );
  config.admin.listen = "127.0.0.1:0";
  for (const rule of config.policies.default.allow) rule.networks = ["127.0.0.0/8"];
  writeFileSync(join(state, "sallyport.yaml"), stringify(config));
  const child = spawn(program, ["run"], {
    cwd: state,
    detached: true,
    stdio: ["ignore", "ignore", openSync(log, "w")],
  });
  writeFileSync(join(state, "pid"), String(child.pid));
  child.unref();
  for (let wait = 0; wait < 200 && port() === undefined; wait++)
    await new Promise((done) => setTimeout(done, 100));
  return port() === undefined ? 1 : 0;
}

function execProxy(): void {
  const at = args.findIndex((argument) => argument.endsWith("/main.js"));
  execFileSync(program, args.slice(at + 1).map(here), { cwd: state, stdio: "inherit" });
}

function runCommand(): number | null {
  const [file = ""] = options("--env-file");
  const [files = ""] = options("--volume").filter((volume) => volume.endsWith(":/etc/sallyport:ro"));
  const given = readFileSync(file, "utf8").replaceAll("/etc/sallyport", files.split(":")[0] ?? "");
  const variables = given
    .replaceAll(":3128", `:${port()}`)
    .trim()
    .split("\n")
    .map((line) => line.split(/=(.*)/s));
  const env = { ...Object.fromEntries(variables), PATH: process.env["PATH"], HOME: state };
  const image = args.findIndex(
    (argument, at) => at > 0 && !argument.startsWith("--") && !VALUED.has(args[at - 1] ?? ""),
  );
  const [name = "", ...rest] = args.slice(image + 1);
  return spawnSync(name, rest, { env, stdio: "inherit" }).status;
}

function options(name: string): string[] {
  return args.filter((_, at) => args[at - 1] === name);
}

function here(text: string): string {
  return text.replaceAll("/var/lib/sallyport", data);
}

function port(): string | undefined {
  return existsSync(log) ? /"port":(\d+),"msg":"listening"/.exec(readFileSync(log, "utf8"))?.[1] : undefined;
}
