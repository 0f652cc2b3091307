// `sallyport doctor`: the script that the proxy serves at http://sallyport.internal/doctor, run here.

import type { Command } from "commander";
import type { Context } from "../context.ts";
import type { ExitCode } from "../errors.ts";

export function addDoctor(program: Command, context: Context): void {
  program
    .command("doctor")
    .summary("inside a sandbox: what does not work, what leads out, and how to mend it")
    .description(
      "Run it inside a sandbox. Each client on PATH is made to ask the proxy, and what should lead nowhere is tried: TCP, UDP, DNS, " +
        "IPv6 and the metadata address, at well-known public addresses. It changes nothing, and prints no credentials.",
    )
    .option("--print", "print the shell script instead, for an image without Node")
    .addHelpText("after", HELP)
    .action(async ({ print: printed }: { print?: boolean }) => {
      const { doctorScript } = await import("../../environment/doctor.ts");
      if (printed === true) return void context.stdout.write(doctorScript());
      const { startUnwalled } = await import("../../exec/wall.ts");
      context.exitCode = (await startUnwalled(["sh", "-c", doctorScript()], context.env).ended) as ExitCode;
    });
}

const HELP = `
Examples:
  sallyport exec -- sallyport doctor
  curl -fsS http://sallyport.internal/doctor | sh     # the same, where there is no Node

Exit codes: 0 all is well; 1 something is to be mended, or nothing could be tested; 2 something leads past the proxy`;
