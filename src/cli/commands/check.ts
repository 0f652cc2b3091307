// `sallyport check`: whether a file is valid, with everything that is wrong or doubtful in it.

import type { Command } from "commander";

import type { Diagnostic } from "../../config/diagnostic.ts";
import { formatDiagnostic } from "../../config/diagnostic.ts";
import { type Context, globalOptions, paint, print, printJson } from "../context.ts";
import { EXIT } from "../errors.ts";

export function addCheck(program: Command, context: Context): void {
  program
    .command("check")
    .summary("say what is wrong with the operator's file")
    .description(
      "Validates the operator's file with its presets and requirements, and prints every error and warning as file:line:column.",
    )
    .argument("[file]", "the file (default: --config, or sallyport.yaml here)")
    .option("--json", "print one JSON object")
    .addHelpText("after", HELP)
    .action(async (file: string | undefined, options: { json?: boolean }, command: Command) => {
      const { load } = await import("../load.ts");
      const loaded = await load(context, file ?? globalOptions(command).config);
      const diagnostics = loaded.ok ? loaded.warnings : loaded.diagnostics;
      const read = loaded.ok ? loaded.file : loaded.files[0];
      const requirements = loaded.requirements.map(({ source }) => source);
      context.exitCode = loaded.ok ? EXIT.ok : EXIT.failure;
      if (options.json === true)
        return printJson(context, { valid: loaded.ok, file: read ?? null, requirements, diagnostics });
      for (const diagnostic of diagnostics) print(context, line(context, diagnostic));
      print(context, summary(loaded.ok, read === undefined, diagnostics));
      if (requirements.length > 0) print(context, `held to what is required by ${requirements.join(", ")}`);
    });
}

function line(context: Context, diagnostic: Diagnostic): string {
  const [place = "", ...message] = formatDiagnostic(diagnostic).split(" ");
  return `${paint(context, diagnostic.severity === "error" ? "red" : "yellow", place)} ${message.join(" ")}`;
}

function summary(valid: boolean, defaults: boolean, diagnostics: readonly Diagnostic[]): string {
  const count = (severity: Diagnostic["severity"], word: string): string[] => {
    const found = diagnostics.filter((diagnostic) => diagnostic.severity === severity).length;
    return found === 0 ? [] : [`${found} ${word}${found === 1 ? "" : "s"}`];
  };
  const counts = [...count("error", "error"), ...count("warning", "warning")].join(", ");
  const verdict = valid
    ? defaults
      ? "valid: there is no file, so the defaults hold"
      : "valid"
    : "not valid";
  return counts === "" ? verdict : `${verdict}: ${counts}`;
}

const HELP = `
Examples:
  sallyport check
  sallyport check new.yaml && mv new.yaml sallyport.yaml
  sallyport check --json | jq '.diagnostics[]'

Exit codes: 0 valid (warnings or not) · 1 not valid`;
