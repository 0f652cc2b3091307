// `sallyport completion`: a script for the shell that completes commands, options and their values.

import { Argument, type Command } from "commander";

import { completionScript, type Shell, SHELLS } from "../completion.ts";
import { type Context, print } from "../context.ts";

export function addCompletion(program: Command, context: Context): void {
  program
    .command("completion")
    .summary("print a completion script for a shell")
    .description("Prints a completion script. Put the line for your shell into its start-up file.")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText("after", HELP)
    .action((shell: Shell) => print(context, completionScript(shell, program)));
}

const HELP = `
Examples:
  eval "$(sallyport completion bash)"        in ~/.bashrc
  eval "$(sallyport completion zsh)"         in ~/.zshrc, after compinit
  sallyport completion fish | source         in ~/.config/fish/config.fish`;
