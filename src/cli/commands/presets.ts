// `sallyport presets`: which presets there are, the shipped and the operator's, and which hosts each allows.

import type { Command } from "commander";

import { formatDiagnostic } from "../../config/diagnostic.ts";
import { type Context, globalOptions, paint, print, printJson } from "../context.ts";
import { CliError } from "../errors.ts";

type Shelf = {
  readonly presets: readonly Described[];
  /** `unknown preset "nmp" (did you mean "npm"?)` */
  readonly unknown: (name: string) => string;
};
type Described = {
  readonly name: string;
  readonly description: string;
  readonly warning: string | null;
  readonly shipped: boolean;
  readonly include: readonly string[];
  /** With those of the presets that it includes. */
  readonly hosts: readonly string[];
};

export function addPresets(program: Command, context: Context): void {
  const presets = program
    .command("presets")
    .summary("list the presets and show the hosts that they allow")
    .description("Presets are allowlists by name: the shipped ones, and those in the operator's directory.")
    .helpCommand(false)
    .addHelpText("after", HELP);
  presets
    .command("list")
    .description("Print each preset's name, number of host patterns and description.")
    .option("--json", "print one JSON array")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { presets } = await open(context, command);
      if (options.json === true) return printJson(context, presets);
      const width = Math.max(...presets.map(({ name }) => name.length));
      for (const { name, hosts, description } of presets) {
        const count = String(hosts.length).padStart(4);
        print(context, `${paint(context, "bold", name.padEnd(width))}  ${count}  ${description}`);
      }
    });
  presets
    .command("show")
    .description("Print every host pattern of a preset, with those that it includes.")
    .argument("<name>", "a preset's name")
    .option("--json", "print one JSON object")
    .action(async (name: string, options: { json?: boolean }, command: Command) => {
      const { presets, unknown } = await open(context, command);
      const preset = presets.find((one) => one.name === name);
      if (preset === undefined) {
        throw new CliError(`${unknown(name)}. \`sallyport presets list\` names them all.`);
      }
      if (options.json === true) return printJson(context, preset);
      const comment = (style: "dim" | "yellow", text: string) =>
        print(context, paint(context, style, `# ${text}`));
      comment("dim", preset.description);
      if (preset.warning !== null) comment("yellow", preset.warning);
      if (preset.include.length > 0) comment("dim", `includes ${preset.include.join(", ")}`);
      for (const host of preset.hosts) print(context, host);
    });
}

async function open(context: Context, command: Command): Promise<Shelf> {
  const { loadValid } = await import("../load.ts");
  const { flattenPresets, loadPresets, unknownPreset } = await import("../../config/presets.ts");
  const { config } = await loadValid(context, globalOptions(command));
  const { library, diagnostics } = await loadPresets({ directory: config.presets });
  if (diagnostics.some(({ severity }) => severity === "error")) {
    throw new CliError(`the presets are not valid:\n${diagnostics.map(formatDiagnostic).join("\n")}`);
  }
  const presets = [...library.values()].map(({ name, description, warning, shipped, include }) => {
    const hosts = [...new Set(flattenPresets(library, [name]).flatMap(({ patterns }) => patterns))];
    return { name, description, warning: warning ?? null, shipped, include, hosts };
  });
  return {
    presets: presets.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    unknown: (name) => unknownPreset(name, library),
  };
}

const HELP = `
Examples:
  sallyport presets list
  sallyport presets show common-dependencies | wc -l
  sallyport presets show npm --json`;
